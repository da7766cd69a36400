use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

/// The result of a call of the manager.
#[derive(Debug)]
pub struct Answer {
    /// The exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The time from the spawn, or from the signal that ends it, to the exit and the end of both streams.
    pub took: Duration,
}

impl Answer {
    /// The innermost function of most samples of a profile that was printed with the messages.
    #[track_caller]
    pub fn hottest_function(&self) -> String {
        let lines = self.stderr.lines();
        let samples = lines.filter_map(|line| line.split_once(" stack=")?.1.split(';').next());
        let mut counts = BTreeMap::<&str, usize>::new();
        samples.for_each(|function| *counts.entry(function).or_default() += 1);
        counts.into_iter().max_by_key(|(_, count)| *count).expect("there are samples").0.to_owned()
    }

    /// Checks that it succeeded with nothing on standard error; returns standard output.
    #[track_caller]
    pub fn succeeded(&self) -> &str {
        assert!(self.status.success() && self.stderr.is_empty(), "it failed: {self:#?}");
        &self.stdout
    }

    /// Checks that it succeeded without any output.
    #[track_caller]
    pub fn succeeded_silently(&self) {
        assert_eq!(self.succeeded(), "");
    }

    /// Checks that it succeeded with `count` lines on standard error; returns these lines.
    #[track_caller]
    pub fn succeeded_with_messages(&self, count: usize) -> Vec<&str> {
        assert!(self.status.success(), "it failed: {self:#?}");
        let messages: Vec<&str> = self.stderr.lines().collect();
        assert_eq!(messages.len(), count, "the number of messages: {self:#?}");
        assert!(
            messages.iter().all(|line| line.starts_with("manager: ")),
            "a message without prefix: {self:#?}"
        );
        messages
    }

    /// Checks that it was a usage error, reported in one line with these `mentions`.
    #[track_caller]
    pub fn refused(&self, mentions: &[&str]) {
        self.ended_with(2, mentions);
    }

    /// Checks that it failed, with one line on standard error with these `mentions`.
    #[track_caller]
    pub fn failed(&self, mentions: &[&str]) {
        self.ended_with(1, mentions);
    }

    /// Whether the signal killed it before it printed anything.
    pub fn killed_silently_by(&self, signal: Signal) -> bool {
        self.status.signal() == Some(signal as i32) && self.stdout.is_empty() && self.stderr.is_empty()
    }

    #[track_caller]
    fn ended_with(&self, status: i32, mentions: &[&str]) {
        assert_eq!(self.stdout, "", "unexpected output: {self:#?}");
        self.failed_with(status, mentions);
    }

    /// Checks the exit status, and that standard error is one line with these `mentions`.
    #[track_caller]
    pub fn failed_with(&self, status: i32, mentions: &[&str]) {
        assert_eq!(self.status.code(), Some(status), "the exit status of {self:#?}");
        assert!(self.stderr.starts_with("manager: "), "a message without prefix: {self:#?}");
        assert!(self.stderr.ends_with('\n'), "the line does not end with a newline: {self:#?}");
        assert_eq!(self.stderr.lines().count(), 1, "not one line: {self:#?}");
        for mention in mentions {
            assert!(self.stderr.contains(mention), "no mention of '{mention}': {self:#?}");
        }
    }
}

//! A session that never finishes fails its test and does not hang it.

use std::time::{Duration, Instant};

use trace_hook_api::{Hook, HookInfo, LineBuffer, Progress, Request, Result, Session};
use trace_hook_testkit::{Recording, Trial};

/// What its sessions do in each read.
struct Misguided(fn(&mut LineBuffer) -> Progress);

impl Hook for Misguided {
    fn info(&self) -> HookInfo {
        HookInfo::new("misguided", "Never finishes")
    }

    fn start(&self, _: &Request) -> Result<Box<dyn Session>> {
        Ok(Box::new(Misguided(self.0)))
    }
}

impl Session for Misguided {
    fn read(&mut self, lines: &mut LineBuffer) -> Result<Progress> {
        Ok((self.0)(lines))
    }

    fn stop(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Checks that the call ends in time, with an error that has this in it.
#[track_caller]
fn fails<T>(read: fn(&mut LineBuffer) -> Progress, call: impl FnOnce(Recording) -> Result<T>, mention: &str) {
    let recording = Trial::of(&Misguided(read)).tracing([1]).start().expect("it starts");
    let began = Instant::now();
    let Err(error) = call(recording) else { panic!("it finished") };
    assert!(error.message().contains(mention), "{error}");
    assert!(began.elapsed() < Duration::from_secs(20));
}

fn no_end(_: &mut LineBuffer) -> Progress {
    Progress::Idle
}

fn more_and_more(lines: &mut LineBuffer) -> Progress {
    lines.push("line");
    Progress::More
}

fn hang(_: &mut LineBuffer) -> Progress {
    loop {
        std::thread::park();
    }
}

#[test]
fn stopped_session_must_finish_within_five_seconds() {
    fails(no_end, Recording::stop, "5 s after it was stopped it has not returned Progress::Finished");
}

#[test]
fn lines_without_end_are_an_error() {
    fails(more_and_more, |mut recording| recording.lines(), "still returns Progress::More");
}

#[test]
fn line_with_gives_up_after_its_limit() {
    let limit = Duration::from_millis(10);
    fails(more_and_more, |mut recording| recording.line_with("other", limit), "no line with 'other' came");
}

#[test]
fn read_that_hangs_is_an_error() {
    fails(hang, |mut recording| recording.lines(), "it took more than 5 s in read");
}

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use crate::built;

/// A process that opens files on command. Dropping it kills it.
pub struct Opener {
    /// The process that was started.
    pub child: Child,
    /// Its id, as it sees it itself.
    pub id: u32,
}

impl Opener {
    /// Starts it. It waits before the step.
    pub fn start(step: &[&str]) -> Self {
        Self::under(&[], step)
    }

    /// Starts it by another command, which gets its command line as the last arguments.
    pub fn under(wrapper: &[&str], step: &[&str]) -> Self {
        Self::of("opener", wrapper, step)
    }

    /// Starts another program that is used in the same way.
    pub fn of(program: &str, wrapper: &[&str], step: &[&str]) -> Self {
        let opener = built(program);
        let opener = [opener.to_str().expect("plain text")];
        let mut words = wrapper.iter().chain(&opener).chain(step);
        let mut child = Command::new(words.next().expect("a program"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the opener can be started");
        let mut id = String::new();
        let stdout = child.stdout.as_mut().expect("it is a pipe");
        BufReader::new(stdout).read_line(&mut id).expect("its first line is its id");
        Self { child, id: id.trim().parse().expect("an id is a number") }
    }

    /// Runs its step, and exits.
    pub fn proceed(&mut self) {
        self.child.stdin.take().expect("it proceeds once").write_all(b"go\n").expect("it reads commands");
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

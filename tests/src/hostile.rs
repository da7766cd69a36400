use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::built;

/// A hostile traced process. The source of the program documents its steps. Dropping it kills it.
pub struct Hostile {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Hostile {
    /// Starts it. It waits before the step.
    pub fn waiting(step: &[&str]) -> Self {
        let mut child = Command::new(built("hostile"))
            .args(step)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let commands = child.stdin.take().expect("it is a pipe");
        let answers = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
        let mut hostile = Self { child, commands, answers };
        assert_eq!(hostile.answer(), hostile.id().to_string());
        hostile
    }

    /// Starts it, and waits until its step is done.
    pub fn after(step: &[&str]) -> Self {
        let mut hostile = Self::waiting(step);
        hostile.proceeds();
        hostile
    }

    /// Lets it do its step, and waits until it is done. After that, it touches new memory.
    #[track_caller]
    pub fn proceeds(&mut self) {
        self.commands.write_all(b"go\n").expect("it reads commands");
        assert_eq!(self.answer(), "done");
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    #[track_caller]
    fn answer(&mut self) -> String {
        self.answers.next().expect("it answers").expect("it is text")
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

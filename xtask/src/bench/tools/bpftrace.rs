//! Runs `bpftrace`, which the eBPF hooks are compared with.

use std::io::{BufRead, BufReader, ErrorKind, copy, sink};
use std::process::{ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::children::Guarded;
use crate::error::{Explain, Result};

/// The line that a program prints when it is attached.
const ON: &str = "on\n";

/// A running bpftrace program whose output is read.
pub struct Bpftrace {
    process: Guarded,
    output: JoinHandle<()>,
}

/// Why bpftrace cannot be used, if so.
pub fn obstacle() -> Option<String> {
    let version =
        Command::new("bpftrace").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let missing = matches!(version, Err(error) if error.kind() == ErrorKind::NotFound);
    missing.then(|| "bpftrace is not installed, so the hook cannot be compared with it".to_owned())
}

impl Bpftrace {
    /// Runs a program, and returns when it is attached.
    pub fn start(program: &str) -> Result<Self> {
        // The first tick is a second after the probes are attached, which happens at once.
        let program = format!("{program} interval:s:1 {{ printf(\"on\\n\"); }}");
        let process = Command::new("bpftrace")
            .args(["-e", &program])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut process = Guarded(process.explain(|| "cannot start bpftrace")?);
        let mut output = BufReader::new(process.0.stdout.take().expect("it is a pipe"));
        wait_until_on(&mut output)?;
        let output = thread::spawn(move || _ = copy(&mut output, &mut sink()));
        Ok(Self { process, output })
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.process.0.id().try_into()?), Signal::SIGINT)?;
        self.process.0.wait()?;
        self.output.join().map_err(|_| "the reader of bpftrace's output panicked".into())
    }
}

fn wait_until_on(output: &mut BufReader<ChildStdout>) -> Result<()> {
    let mut line = String::new();
    while line != ON {
        line.clear();
        if output.read_line(&mut line)? == 0 {
            return Err("bpftrace ended before its probes were attached".into());
        }
    }
    Ok(())
}

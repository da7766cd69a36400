//! A process to trace.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write, pipe};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::worker::{ChildProcess, Orphan, isolate};

/// Starting a child costs more than the other work, for the tracer as well.
const ROUNDS_PER_CHILD: u64 = 16;

/// A process that writes, sleeps and starts children until this is dropped.
pub struct Workload {
    /// Its process id, as the given procfs shows it.
    pub pid: u32,
    _process: ChildProcess,
}

impl Workload {
    /// Starts the process.
    ///
    /// # Errors
    ///
    /// The process could not be started.
    pub fn start(procfs: &Path) -> Result<Self> {
        let cannot = |source| Error::System { action: "start a process to trace", source };
        let (ours, theirs) = pipe().map_err(cannot)?;
        let process = ChildProcess::fork(|| {
            isolate(Orphan::Dies, &[theirs.as_fd()], None);
            // Only the process itself can find out its id in a procfs of another pid namespace.
            let pid = fs::read_link(procfs.join("self")).unwrap_or_default();
            let sent = writeln!(&theirs, "{}", pid.display());
            if sent.is_ok() {
                for round in 0.. {
                    work(round);
                }
            }
        })?;
        drop(theirs);
        let mut line = String::new();
        BufReader::new(ours).read_line(&mut line).map_err(cannot)?;
        let pid = line.trim().parse().map_err(|error| cannot(std::io::Error::other(error)))?;
        Ok(Self { pid, _process: process })
    }
}

fn work(round: u64) {
    if let Ok(mut null) = File::create("/dev/null") {
        let _ = null.write_all(b"work");
    }
    // Hooks that trace processes need events too.
    if round.is_multiple_of(ROUNDS_PER_CHILD) {
        drop(ChildProcess::fork(|| ()));
    }
    std::thread::sleep(Duration::from_millis(1));
}

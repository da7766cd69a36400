//! Runs `perf record`, which hooks are compared with.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tempfile::TempDir;

use crate::children::Guarded;
use crate::error::{Explain, Result};

/// The directory for large temporary files.
const DIRECTORY: &str = "/var/tmp";
const PATIENCE: Duration = Duration::from_secs(10);

/// A running `perf record`.
pub struct Perf {
    process: Guarded,
    directory: TempDir,
}

pub fn is_installed() -> bool {
    let version = Command::new("perf").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    !matches!(version, Err(error) if error.kind() == ErrorKind::NotFound)
}

impl Perf {
    /// Starts to record these tracepoints of these processes.
    pub fn start(pids: &[u32], events: &[&str]) -> Result<Self> {
        let words: Vec<_> = events.iter().flat_map(|event| ["--event", event]).collect();
        Self::record(pids, &words)
    }

    /// Starts to sample the stacks of these processes at this frequency.
    pub fn profile(pids: &[u32], hertz: u32) -> Result<Self> {
        Self::record(pids, &["-g", "-F", &hertz.to_string()])
    }

    fn record(pids: &[u32], words: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir_in(DIRECTORY)?;
        let mut control = fifo(&directory.path().join("control"))?;
        let mut answer = fifo(&directory.path().join("answer"))?;
        let pids: Vec<_> = pids.iter().map(u32::to_string).collect();
        let process = Command::new("perf")
            .args(["record", "--quiet", "--delay=-1", "--control=fifo:control,answer", "--output=data"])
            .args(words)
            .args(["--pid", &pids.join(",")])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let perf = Self { process: Guarded(process.explain(|| "cannot start perf")?), directory };
        control.write_all(b"enable\n")?;
        wait_for(&mut answer)?;
        Ok(perf)
    }

    /// Ends it, and counts the events in its file.
    pub fn stop(mut self) -> Result<u64> {
        kill(Pid::from_raw(self.process.0.id().try_into()?), Signal::SIGINT)?;
        self.process.0.wait()?;
        let report = Command::new("perf")
            .args(["report", "--stats", "--input=data"])
            .current_dir(self.directory.path())
            .output()
            .explain(|| "cannot start perf")?;
        samples(&String::from_utf8_lossy(&report.stdout))
    }
}

/// A FIFO that can be opened and written to before it has a reader.
fn fifo(path: &Path) -> Result<File> {
    mkfifo(path, Mode::S_IRWXU)?;
    Ok(OpenOptions::new().read(true).write(true).open(path)?)
}

fn wait_for(answer: &mut File) -> Result<()> {
    let mut wanted = [PollFd::new(answer.as_fd(), PollFlags::POLLIN)];
    if poll(&mut wanted, PollTimeout::try_from(PATIENCE)?)? == 0 {
        return Err("perf does not start recording".into());
    }
    let _ = answer.read(&mut [0; 16])?;
    Ok(())
}

/// Parses `SAMPLE events: 4000000 (99.9%)`, the first of which is for all events together.
fn samples(report: &str) -> Result<u64> {
    let line = report.lines().find_map(|line| line.trim_start().strip_prefix("SAMPLE events:"));
    let count = line.and_then(|line| line.split_whitespace().next());
    Ok(count.ok_or("perf has recorded no samples")?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::samples;

    #[test]
    fn the_sum_is_found() {
        let report = "
Aggregated stats:
           TOTAL events:         11
          SAMPLE events:          7  (63.6%)
syscalls:sys_enter_getppid stats:
          SAMPLE events:          4
";
        assert_eq!(samples(report).ok(), Some(7));
    }
}

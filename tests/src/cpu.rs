use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

/// The CPUs that the tests may use.
pub fn cpus() -> Vec<u32> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("this thread has an affinity mask");
    (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false)).map(|cpu| cpu as u32).collect()
}

/// A CPU that is offline until this is dropped or the tests are killed.
pub struct OfflineCpu(Child);

impl OfflineCpu {
    /// Takes the CPU offline. Keep this short: it affects the whole machine.
    ///
    /// # Errors
    ///
    /// The CPU cannot be taken offline.
    pub fn new(cpu: u32) -> Result<Self, String> {
        let switch = format!("/sys/devices/system/cpu/cpu{cpu}/online");
        fs::metadata(&switch).map_err(|error| format!("{switch}: {error}"))?;
        // It brings the CPU back at the end of its input, also when this process is killed.
        let script = r#"trap "" INT TERM HUP; echo 0 >"$1" || exit; echo off; read -r _; echo 1 >"$1""#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", &switch]).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("sh: {error}"))?;
        let mut answer = String::new();
        let stdout = child.stdout.take().expect("it is a pipe");
        let _ = BufReader::new(stdout).read_line(&mut answer);
        let offline = Self(child);
        if answer == "off\n" { Ok(offline) } else { Err(format!("the kernel keeps CPU {cpu} on")) }
    }
}

impl Drop for OfflineCpu {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

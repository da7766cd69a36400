//! Retrying what the kernel refuses with EBUSY.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::error::Result;

/// How long to wait for other processes to close the files of an instance, or to disable a probe.
pub(crate) const BUSY_LIMIT: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Repeats `attempt` while it fails with EBUSY, until `deadline`.
pub(crate) fn while_busy(deadline: Instant, attempt: impl Fn() -> Result<()>) -> Result<()> {
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt() {
            Err(error) if error.errno() == Some(Errno::EBUSY) && Instant::now() < deadline => {
                sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

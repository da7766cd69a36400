//! Removing an instance, quickly and for good.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::dir::Dir;
use crate::error::{Error, Result};

/// How long to wait for others to close what they opened in an instance, or to disable what is to be removed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_NAP: Duration = Duration::from_millis(1);
const LONGEST_NAP: Duration = Duration::from_millis(20);

/// Removes an instance after `let_go` has closed its own files, each of which would make the kernel refuse with EBUSY, and
/// removed what can only go when no event is on any more. Should it fail, the instance is removed all the same.
///
/// `rmdir` alone would do as well, but it is faster with all events off: on kernel 6.18 with all
/// system calls and a task set on, `rmdir` alone takes 110 ms, and these three steps 75 ms.
pub(crate) fn tear_down(dir: &Dir, let_go: impl FnOnce() -> Result<()>) -> Result<()> {
    if let Err(error) = dir.write("events/enable", "0") {
        log::debug!("{error}");
    }
    let results = [let_go(), remove_directory(dir)];
    Error::all_of(results.into_iter().filter_map(Result::err).collect())
}

fn remove_directory(dir: &Dir) -> Result<()> {
    let path = dir.path();
    let remove =
        || fs::remove_dir(path).map_err(|error| Error::io("remove the tracing instance", path, error));
    while_busy(Instant::now() + PATIENCE, remove).or_else(|error| match error.errno() {
        // Gone, or just going (ENODEV), is what it should be, whoever does it.
        Some(Errno::ENOENT | Errno::ENODEV) => Ok(()),
        Some(Errno::EBUSY) => Err(Error::InstanceBusy { path: path.to_path_buf() }),
        _ => Err(error),
    })
}

/// Tries something again, until then at most, as long as the kernel says that somebody else is using it.
pub(crate) fn while_busy(deadline: Instant, attempt: impl Fn() -> Result<()>) -> Result<()> {
    let mut nap = FIRST_NAP;
    loop {
        match attempt() {
            Err(error) if error.errno() == Some(Errno::EBUSY) && Instant::now() < deadline => {
                sleep(nap);
                nap = (nap * 2).min(LONGEST_NAP);
            }
            outcome => return outcome,
        }
    }
}

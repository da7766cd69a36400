//! Only writes lines into a FIFO, one packet each: the floor for the trace file.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::error::Result;

/// Room for 256 packets, as the manager's trace files have.
const PIPE_SIZE: i32 = 1 << 20;

/// Writes the same line `count` times; `length` is without the newline.
pub fn write(fifo: &Path, count: usize, length: usize) -> Result<()> {
    let mut fifo = OpenOptions::new().write(true).open(fifo)?;
    fcntl(&fifo, FcntlArg::F_SETFL(OFlag::O_DIRECT))?;
    fcntl(&fifo, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE))?;
    let line = format!("{:.<length$}\n", "line");
    (0..count).try_for_each(|_| Ok(fifo.write_all(line.as_bytes())?))
}

//! Child processes that end with their owner.

use std::io::{PipeWriter, pipe};
use std::process::{Child, Command, Stdio};

use crate::error::{Explain, Result};

/// A child that is killed when this is dropped.
pub struct Guarded(pub Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // Fails only if the child has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processes that block in a read from an empty pipe until this is dropped.
///
/// They also end if this process is killed, because then the pipe has no writer any more.
pub struct Sleepers {
    children: Vec<Child>,
    writer: Option<PipeWriter>,
}

impl Sleepers {
    pub fn new(count: usize) -> Result<Self> {
        let (reader, writer) = pipe()?;
        let mut sleepers = Self { children: Vec::with_capacity(count), writer: Some(writer) };
        for _ in 0..count {
            let sleeper = Command::new("cat").stdin(reader.try_clone()?).stdout(Stdio::null()).spawn();
            sleepers.children.push(sleeper.explain(|| "cannot start cat")?);
        }
        Ok(sleepers)
    }

    pub fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        self.writer = None;
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

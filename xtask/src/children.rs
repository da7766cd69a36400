//! Child processes that do not outlive their use.

use std::io::{PipeWriter, pipe};
use std::process::{Child, Command, Stdio};

use crate::error::{Explain, Result};

/// A child that is killed when this is dropped.
pub struct Guarded(pub Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // Fails only if the child is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processes that sleep, all reading one pipe that never says anything, until this is dropped.
///
/// They end as well if this process dies, however it dies: then nobody holds the other end of the pipe.
pub struct Sleepers {
    children: Vec<Child>,
    leash: Option<PipeWriter>,
}

impl Sleepers {
    pub fn new(count: usize) -> Result<Self> {
        let (silence, leash) = pipe()?;
        let mut sleepers = Self { children: Vec::with_capacity(count), leash: Some(leash) };
        for _ in 0..count {
            let sleeper = Command::new("cat").stdin(silence.try_clone()?).stdout(Stdio::null()).spawn();
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
        self.leash = None;
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

//! A queue of bytes in a temporary file.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A file that is used in a circle, so that it never grows beyond its capacity. It is made when it is first needed.
#[derive(Debug)]
pub struct DiskQueue {
    directory: PathBuf,
    file: Option<File>,
    capacity: u64,
    /// Both count on for ever; the place in the file is the remainder by the capacity.
    written: u64,
    read: u64,
    broken: bool,
    buffer: Vec<u8>,
}

impl DiskQueue {
    pub fn new(directory: &Path, capacity: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            file: None,
            capacity,
            written: 0,
            read: 0,
            broken: false,
            buffer: Vec::new(),
        }
    }

    pub fn len(&self) -> u64 {
        self.written - self.read
    }

    /// Whether the last push failed.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Forgets that the last push failed: there may be room again.
    pub fn try_again(&mut self) {
        self.broken = false;
    }

    /// Adds the bytes as a whole, or not at all.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let pushed = match self.len() + bytes.len() as u64 <= self.capacity {
            true => self.write(bytes),
            false => Err(io::ErrorKind::StorageFull.into()),
        };
        if let (Err(error), false) = (&pushed, self.broken) {
            log::warn!("the spool's file in {} takes nothing more: {error}", self.directory.display());
        }
        self.broken = pushed.is_err();
        !self.broken
    }

    /// Moves up to `most` bytes into `out`.
    pub fn pop_into(&mut self, out: &mut VecDeque<u8>, most: usize) -> io::Result<()> {
        let length = self.len().min(most as u64).min(self.capacity - self.read % self.capacity) as usize;
        let Some(file) = &self.file else {
            return Ok(());
        };
        self.buffer.resize(length, 0);
        let read = file.read_exact_at(&mut self.buffer, self.read % self.capacity);
        // A piece that cannot be read must not be tried for ever.
        self.read += length as u64;
        self.try_again();
        read?;
        out.extend(&self.buffer);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let at = self.written % self.capacity;
        let before_the_end = bytes.len().min((self.capacity - at) as usize);
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile_in(&self.directory)?),
        };
        file.write_all_at(&bytes[..before_the_end], at)?;
        file.write_all_at(&bytes[before_the_end..], 0)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

//! A queue of blocks in a temporary file.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::Contents;

/// A file used as a ring, which never grows beyond its capacity. It is created when it is first needed.
#[derive(Debug)]
pub struct DiskQueue {
    directory: PathBuf,
    file: Option<Arc<File>>,
    capacity: u64,
    /// The oldest first.
    blocks: VecDeque<Block>,
    /// Total bytes written and read. The position in the file is the remainder modulo the capacity.
    written: u64,
    read: u64,
    /// The user was warned that the file cannot be written.
    warned: bool,
}

#[derive(Debug)]
struct Block {
    length: usize,
    contents: Contents,
}

/// The position of a block in the file.
#[derive(Debug)]
pub struct Place {
    file: Arc<File>,
    /// The offset of its first byte. What does not fit before the end of the ring continues at the beginning of the file.
    begin: u64,
    length: usize,
    capacity: u64,
}

impl DiskQueue {
    pub fn new(directory: &Path, capacity: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            file: None,
            capacity,
            blocks: VecDeque::new(),
            written: 0,
            read: 0,
            warned: false,
        }
    }

    pub fn len(&self) -> u64 {
        self.written - self.read
    }

    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Adds the whole block, or nothing.
    pub fn push(&mut self, block: &[u8], contents: &mut Contents) -> bool {
        if self.len() + block.len() as u64 > self.capacity {
            return false;
        }
        if let Err(error) = self.write(block) {
            self.warn_once(&error);
            return false;
        }
        self.written += block.len() as u64;
        self.blocks.push_back(Block { length: block.len(), contents: std::mem::take(contents) });
        true
    }

    fn warn_once(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.warned, true) {
            log::warn!(
                "cannot write the spool's temporary file in {}: {error}; events that do not fit into memory are lost",
                self.directory.display()
            );
        }
    }

    /// The position of the oldest block, valid until it is released.
    pub fn oldest(&self) -> Option<Place> {
        let (file, length) = (self.file.as_ref()?, self.blocks.front()?.length);
        Some(Place {
            file: Arc::clone(file),
            begin: self.read % self.capacity,
            length,
            capacity: self.capacity,
        })
    }

    /// Frees the space of the oldest block, whether or not it could be read. Returns what it held.
    pub fn release_oldest(&mut self) -> Contents {
        let Some(Block { length, contents }) = self.blocks.pop_front() else { return Contents::default() };
        self.read += length as u64;
        contents
    }

    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        let begin = self.written % self.capacity;
        let before_wrap = before_wrap(begin, block.len(), self.capacity);
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(Arc::new(tempfile::tempfile_in(&self.directory)?)),
        };
        file.write_all_at(&block[..before_wrap], begin)?;
        file.write_all_at(&block[before_wrap..], 0)?;
        Ok(())
    }
}

impl Place {
    /// Reads the block into `out`, whose contents it replaces.
    pub fn read_into(&self, out: &mut Vec<u8>) -> io::Result<()> {
        out.resize(self.length, 0);
        let (first, second) = out.split_at_mut(before_wrap(self.begin, self.length, self.capacity));
        let read = self.file.read_exact_at(first, self.begin);
        let read = read.and_then(|()| self.file.read_exact_at(second, 0));
        if read.is_err() {
            out.clear();
        }
        read
    }
}

/// How many of `length` bytes lie before the end of the ring.
fn before_wrap(begin: u64, length: usize, capacity: u64) -> usize {
    usize::try_from(capacity - begin).map_or(length, |room| room.min(length))
}

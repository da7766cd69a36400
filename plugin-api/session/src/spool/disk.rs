//! A queue of blocks in a temporary file.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::Contents;

/// A file that is used in a circle, so that it never grows beyond its capacity. It is made when it is first needed.
#[derive(Debug)]
pub struct DiskQueue {
    directory: PathBuf,
    file: Option<Arc<File>>,
    capacity: u64,
    /// The oldest first.
    blocks: VecDeque<Block>,
    /// Both count on for ever; the place in the file is the remainder by the capacity.
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

/// Where a block lies.
#[derive(Debug)]
pub struct Place {
    file: Arc<File>,
    /// Where in the file it begins. What does not fit before the end of the circle is at the file's beginning.
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

    /// Adds the block as a whole, or not at all.
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

    /// Where the oldest block lies, until it is released.
    pub fn oldest(&self) -> Option<Place> {
        let (file, length) = (self.file.as_ref()?, self.blocks.front()?.length);
        Some(Place {
            file: Arc::clone(file),
            begin: self.read % self.capacity,
            length,
            capacity: self.capacity,
        })
    }

    /// Gives the oldest block's place away, be it that the block was read or that it cannot be. Returns what is in it.
    pub fn release_oldest(&mut self) -> Contents {
        let Some(Block { length, contents }) = self.blocks.pop_front() else { return Contents::default() };
        self.read += length as u64;
        contents
    }

    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        let begin = self.written % self.capacity;
        let before_the_end = before_the_end(begin, block.len(), self.capacity);
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(Arc::new(tempfile::tempfile_in(&self.directory)?)),
        };
        file.write_all_at(&block[..before_the_end], begin)?;
        file.write_all_at(&block[before_the_end..], 0)?;
        Ok(())
    }
}

impl Place {
    /// Reads the block into `out`, whose contents it replaces.
    pub fn read_into(&self, out: &mut Vec<u8>) -> io::Result<()> {
        out.resize(self.length, 0);
        let (first, second) = out.split_at_mut(before_the_end(self.begin, self.length, self.capacity));
        let read = self.file.read_exact_at(first, self.begin);
        let read = read.and_then(|()| self.file.read_exact_at(second, 0));
        if read.is_err() {
            out.clear();
        }
        read
    }
}

/// How many of so many bytes lie before the end of the circle.
fn before_the_end(begin: u64, length: usize, capacity: u64) -> usize {
    usize::try_from(capacity - begin).map_or(length, |room| room.min(length))
}

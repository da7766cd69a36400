//! The reading end of a spool.

use std::io;
use std::sync::Arc;

use super::Spool;
use super::block::Entry;
use super::queue::Oldest;

/// Takes entries out of a spool, in the order in which they were added.
#[derive(Debug)]
pub struct SpoolReader {
    spool: Arc<Spool>,
    /// Whole entries, owned by the reader.
    block: Vec<u8>,
    taken: usize,
}

impl SpoolReader {
    /// The reader of this spool. A spool must have only one.
    pub fn new(spool: Arc<Spool>) -> Self {
        Self { spool, block: Vec::new(), taken: 0 }
    }

    /// The oldest entry.
    ///
    /// # Errors
    ///
    /// The temporary file returned other data than was written to it.
    pub fn pop(&mut self) -> io::Result<Option<Entry<'_>>> {
        while self.taken == self.block.len() {
            if !self.next_block() {
                return Ok(None);
            }
        }
        let Some((entry, length)) = Entry::first_of(&self.block[self.taken..]) else {
            self.taken = self.block.len();
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the spool ends within an entry"));
        };
        self.taken += length;
        Ok(Some(entry))
    }

    fn next_block(&mut self) -> bool {
        self.taken = 0;
        self.block.clear();
        let oldest = self.spool.queue().take_oldest(&mut self.block);
        if let Oldest::OnDisk(place) = &oldest {
            // Without the lock: reading from disk can be slow.
            match place.read_into(&mut self.block) {
                Ok(()) => self.spool.queue().release_oldest(),
                Err(error) => {
                    log::warn!("a part of the spool's file cannot be read, and its events are lost: {error}");
                    self.spool.queue().give_up_oldest(&mut self.block);
                }
            }
        }
        !matches!(oldest, Oldest::Nothing)
    }
}

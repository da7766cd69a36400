use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::elf::{Content, ElfError, MAX_NAME, Table, name_at};
use crate::memory_budget::{MemoryBudget, Reservation};

/// Shorter strings are in memory, in bytes.
const SHORT: u64 = 256 << 10;
/// How much is copied at a time, in bytes.
const STEP: u64 = 64 << 10;

/// The strings of a symbol table, as they are in the file: names can overlap in them, so that all names together can be many
/// times as long.
#[derive(Debug)]
pub struct Strings {
    place: Place,
    _reservation: Reservation,
}

#[derive(Debug)]
enum Place {
    Memory(Box<[u8]>),
    /// An own copy: the file of a traced program can change, and reading it can block.
    Disk(File),
}

impl Strings {
    /// Reads the strings of a table.
    ///
    /// # Errors
    ///
    /// They cannot be read, or exceed the budget.
    pub fn of(table: &Table, content: Content<'_>, budget: &Arc<MemoryBudget>) -> Result<Self, ElfError> {
        let length = table.strings_length();
        let on_disk = (length > SHORT).then(|| budget.file(length)).flatten();
        match on_disk
            .map(|file| file.and_then(|(file, reservation)| copied(table, content, file, reservation)))
        {
            Some(Ok(strings)) => return Ok(strings),
            Some(Err(error)) => log::debug!("cannot keep names on disk: {error}"),
            None => {}
        }
        let _reservation = budget.reserve(length).ok_or(ElfError::TooLarge)?;
        Ok(Self { place: Place::Memory(table.read_strings(content)?.into()), _reservation })
    }

    #[cfg(test)]
    pub fn in_memory(bytes: &[u8]) -> Self {
        let _reservation = MemoryBudget::new(0).reserve(0).unwrap();
        Self { place: Place::Memory(bytes.into()), _reservation }
    }

    /// The name at this place.
    pub fn name_at(&self, offset: u32) -> Option<Cow<'_, str>> {
        match &self.place {
            Place::Memory(bytes) => name_at(bytes, offset).map(String::from_utf8_lossy),
            Place::Disk(file) => {
                let mut bytes = vec![0; MAX_NAME + 1];
                let length = file.read_at(&mut bytes, offset.into()).ok()?;
                let name = name_at(&bytes[..length], 0).map(String::from_utf8_lossy);
                name.map(|name| Cow::Owned(name.into_owned()))
            }
        }
    }
}

fn copied(table: &Table, content: Content<'_>, file: File, reservation: Reservation) -> io::Result<Strings> {
    for begin in (0..table.strings_length()).step_by(STEP as usize) {
        file.write_all_at(&table.read_part_of_strings(content, begin, STEP), begin)?;
    }
    Ok(Strings { place: Place::Disk(file), _reservation: reservation })
}

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::error::ElfError;

/// The bytes of an ELF file.
///
/// A file is read, not mapped: its owner can truncate it at any time, which would kill a process that has it mapped.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// An open file.
    File(&'a File),
    /// A file that is in memory.
    Bytes(&'a [u8]),
}

impl<'a> From<&'a File> for Content<'a> {
    fn from(file: &'a File) -> Self {
        Self::File(file)
    }
}

impl<'a> From<&'a [u8]> for Content<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl Content<'_> {
    /// Reads all of a part.
    ///
    /// # Errors
    ///
    /// The part is larger than `limit`, or the file ends before its end.
    pub fn read(self, part: &Range<u64>, limit: u64) -> Result<Vec<u8>, ElfError> {
        let length = part.end.saturating_sub(part.start);
        if length > limit {
            return Err(ElfError::TooLarge);
        }
        // Checked before memory is allocated.
        if part.end > self.length()? {
            return Err(ElfError::Malformed);
        }
        let length = usize::try_from(length).map_err(|_| ElfError::TooLarge)?;
        let mut bytes = vec![0; length];
        match self {
            Self::File(file) => file.read_exact_at(&mut bytes, part.start).map_err(ElfError::from)?,
            Self::Bytes(all) => {
                let start = usize::try_from(part.start).map_err(|_| ElfError::Malformed)?;
                bytes.copy_from_slice(&all[start..start + length]);
            }
        }
        Ok(bytes)
    }

    /// Reads up to `length` bytes: fewer, where the file ends before.
    pub fn read_up_to(self, offset: u64, length: u64) -> Vec<u8> {
        let available = self.length().unwrap_or(0).saturating_sub(offset).min(length);
        self.read(&(offset..offset.saturating_add(available)), length).unwrap_or_default()
    }

    fn length(self) -> Result<u64, ElfError> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_complete_parts_within_the_limit_are_read() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        for content in [Content::from(&file), Content::from(&b"0123456789"[..])] {
            assert_eq!(content.read(&(4..8), 4).unwrap(), b"4567");
            assert!(matches!(content.read(&(4..8), 3), Err(ElfError::TooLarge)));
            assert!(matches!(content.read(&(8..11), 4), Err(ElfError::Malformed)));
            assert_eq!(content.read_up_to(8, 4), b"89");
            assert_eq!(content.read_up_to(u64::MAX, 4), b"");
        }
    }
}

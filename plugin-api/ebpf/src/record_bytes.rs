//! Parsing the bytes of a record.

/// The bytes of a record that are not parsed yet. Each method returns `None` if there are too few.
#[derive(Debug, Clone, Copy)]
pub struct RecordBytes<'a>(&'a [u8]);

impl<'a> RecordBytes<'a> {
    /// All bytes of a record.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next bytes.
    pub fn take(&mut self, length: u32) -> Option<&'a [u8]> {
        let (taken, after) = self.0.split_at_checked(length as usize)?;
        self.0 = after;
        Some(taken)
    }

    /// All that are left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// The next text, of this size, up to its first NUL.
    pub fn text(&mut self, size: u32) -> Option<&'a [u8]> {
        self.take(size).map(until_nul)
    }

    /// The next number of 64 bits.
    pub fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_ne_bytes)
    }

    /// The next number of 32 bits.
    pub fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_ne_bytes)
    }

    /// The next signed number of 32 bits.
    pub fn i32(&mut self) -> Option<i32> {
        self.u32().map(u32::cast_signed)
    }

    /// The next number of 16 bits.
    pub fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_ne_bytes)
    }
}

/// The text before the first NUL.
pub fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_follow_each_other() {
        let bytes = [&7u64.to_ne_bytes()[..], &(-3i32).to_ne_bytes(), &9u16.to_ne_bytes(), b"ab\0c"].concat();
        let mut bytes = RecordBytes::new(&bytes);
        assert_eq!((bytes.u64(), bytes.i32(), bytes.u16()), (Some(7), Some(-3), Some(9)));
        assert_eq!(bytes.text(4), Some(&b"ab"[..]));
        assert_eq!((bytes.take(1), bytes.take(0)), (None, Some(&b""[..])));
    }
}

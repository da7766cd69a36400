use object::ReadRef;

/// No table of a real program is larger. A made-up one could take all memory.
const LARGEST_TABLE: u64 = 256 << 20;

/// Data of which nothing is read that is too large to be true.
#[derive(Debug, Clone, Copy)]
pub struct Bounded<R>(pub R);

impl<'data, R: ReadRef<'data>> ReadRef<'data> for Bounded<R> {
    fn len(self) -> Result<u64, ()> {
        self.0.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'data [u8], ()> {
        if size > LARGEST_TABLE { Err(()) } else { self.0.read_bytes_at(offset, size) }
    }

    fn read_bytes_at_until(self, range: std::ops::Range<u64>, delimiter: u8) -> Result<&'data [u8], ()> {
        self.0.read_bytes_at_until(range, delimiter)
    }
}

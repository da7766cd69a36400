use std::ops::Deref;

use super::write;

/// `TASK_COMM_LEN`, including the terminating NUL. Also the width of the column.
pub(super) const COLUMN: usize = 16;

/// The name of a thread, unescaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comm {
    bytes: [u8; COLUMN],
    length: u8,
    /// The name as printed in a line: right-aligned, as with `%16s`.
    pub(super) column: [u8; COLUMN],
}

impl Comm {
    /// Ends at the first NUL, and truncates what is longer than any name.
    pub(super) fn new(name: &[u8]) -> Self {
        let name = write::until_nul(name);
        let name = name.get(..COLUMN).unwrap_or(name);
        let (mut bytes, mut column) = ([0; COLUMN], [b' '; COLUMN]);
        bytes.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        for (to, from) in column.iter_mut().skip(COLUMN - name.len()).zip(name) {
            // A newline in the name would split the line.
            *to = if *from == b'\n' { b'?' } else { *from };
        }
        Self { bytes, length: name.len() as u8, column }
    }
}

impl Deref for Comm {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Comm;

    #[test]
    fn name_is_unescaped_and_column_has_no_newline() {
        let comm = Comm::new(b" a\nb\xff\0junk");
        assert_eq!((&*comm, &comm.column), (&b" a\nb\xff"[..], b"            a?b\xff"));
        let full = Comm::new(b"sixteen bytes xx and more");
        assert_eq!((&*full, &full.column), (&b"sixteen bytes xx"[..], b"sixteen bytes xx"));
    }
}

use std::ops::Deref;

use super::write;

/// `TASK_COMM_LEN`, which counts a NUL at the end; and the width of the column.
pub(super) const COLUMN: usize = 16;

/// The name of a thread, as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comm {
    bytes: [u8; COLUMN],
    length: u8,
    /// As a line of text has it: right-aligned as `%16s` does.
    pub(super) column: [u8; COLUMN],
}

impl Comm {
    /// What follows a NUL, or is longer than any name, is left out.
    pub(super) fn new(name: &[u8]) -> Self {
        let name = write::until_nul(name);
        let name = name.get(..COLUMN).unwrap_or(name);
        let (mut bytes, mut column) = ([0; COLUMN], [b' '; COLUMN]);
        bytes.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        for (to, from) in column.iter_mut().skip(COLUMN - name.len()).zip(name) {
            // A name may hold a line end, which must not cut the line in two.
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
    fn a_name_is_kept_as_it_is_and_shown_in_a_column() {
        let comm = Comm::new(b" a\nb\xff\0junk");
        assert_eq!((&*comm, &comm.column), (&b" a\nb\xff"[..], b"            a?b\xff"));
        let full = Comm::new(b"sixteen bytes xx and more");
        assert_eq!((&*full, &full.column), (&b"sixteen bytes xx"[..], b"sixteen bytes xx"));
    }
}

use std::ops::Deref;

/// The name of a thread. Blanks at its beginning are not kept, and a line end in it is a `?`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comm {
    /// Filled with blanks at its beginning.
    pub(super) column: [u8; 16],
}

impl Deref for Comm {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.column.trim_ascii_start()
    }
}

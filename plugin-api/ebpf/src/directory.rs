//! The path of a directory or a file: `bpf/directory.h`.

// The bits that `go_up` sets.
const REACHED_ROOT: u32 = 1;
const CUT: u32 = 2;
const DELETED: u32 = 4;

/// A directory or a file as the traced process sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directory<'a> {
    /// Its components, the innermost first, each with its NUL.
    pub names: &'a [u8],
    /// How far they reach.
    pub reach: Reach,
    /// Whether it is deleted.
    pub is_deleted: bool,
}

/// How far up the components of a directory reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The root of the process.
    Root,
    /// A root above which the root of the process cannot be found.
    Elsewhere,
    /// The end of the space for them.
    Cut,
}

impl<'a> Directory<'a> {
    /// The directory with these components, and the bits that `go_up` has set for it.
    pub fn new(names: &'a [u8], ended: u32) -> Self {
        let reach = match ended {
            _ if ended & REACHED_ROOT != 0 => Reach::Root,
            _ if ended & CUT != 0 => Reach::Cut,
            _ => Reach::Elsewhere,
        };
        Self { names, reach, is_deleted: ended & DELETED != 0 }
    }

    /// Its path.
    pub fn path(&self) -> Vec<u8> {
        match self.path_below_root() {
            path if path.is_empty() => b"/".to_vec(),
            path => path,
        }
    }

    /// Its path, which is empty for the root.
    pub fn path_below_root(&self) -> Vec<u8> {
        let mut path = match self.reach {
            Reach::Root => Vec::new(),
            // As getcwd(2) prints it.
            Reach::Elsewhere => b"(unreachable)".to_vec(),
            Reach::Cut => b"...".to_vec(),
        };
        let names: Vec<&[u8]> = self.names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
        for name in names.into_iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if self.is_deleted {
            path.extend_from_slice(b" (deleted)");
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_joined_from_the_root() {
        let path = |ended| String::from_utf8(Directory::new(b"work\0home\0", ended).path()).unwrap();
        assert_eq!(path(REACHED_ROOT), "/home/work");
        assert_eq!(path(REACHED_ROOT | DELETED), "/home/work (deleted)");
        assert_eq!(path(CUT), ".../home/work");
        assert_eq!(path(0), "(unreachable)/home/work");
        assert_eq!(Directory::new(b"", REACHED_ROOT).path_below_root(), b"");
    }
}

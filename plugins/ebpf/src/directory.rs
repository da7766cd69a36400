//! The path of a file or directory as a process sees it, from what `bpf/directory.h` reads.

/// A directory as the calling process sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directory<'a> {
    /// Its components, the innermost first, each with its NUL.
    pub names: &'a [u8],
    /// How far they reach.
    pub reach: Reach,
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

/// Its path; empty for the root of the process.
pub fn path_below_root(directory: &Directory<'_>) -> Vec<u8> {
    let mut path = match directory.reach {
        Reach::Root => Vec::new(),
        // As getcwd(2) prints it.
        Reach::Elsewhere => b"(unreachable)".to_vec(),
        Reach::Cut => b"...".to_vec(),
    };
    for name in directory.names.rsplit(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if directory.is_deleted {
        path.extend_from_slice(b" (deleted)");
    }
    path
}

/// Its path; `/` for the root of the process.
pub fn path(directory: &Directory<'_>) -> Vec<u8> {
    match path_below_root(directory) {
        path if path.is_empty() => b"/".to_vec(),
        path => path,
    }
}

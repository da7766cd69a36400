use std::path::Path;

use trace_tasks::{CallTarget, Pid};

use super::mapped_files::MappedFile;

/// A file to search.
#[derive(Debug, Clone, Copy)]
pub enum Candidate<'a> {
    Mapped(&'a MappedFile),
    /// At this path in the root directory of a process.
    InRootOf(Pid, &'a Path),
}

impl<'a> Candidate<'a> {
    /// Its path, as its process sees it.
    pub fn path(self) -> &'a Path {
        match self {
            Self::Mapped(file) => &file.path,
            Self::InRootOf(_, path) => path,
        }
    }

    /// The processes that it is searched for, as far as they are known.
    pub fn processes(self) -> Vec<Pid> {
        match self {
            Self::Mapped(file) => file.processes().collect(),
            Self::InRootOf(process, _) => vec![process],
        }
    }

    /// The same, if all of them are known.
    pub fn all_processes(self) -> Option<Vec<Pid>> {
        match self {
            Self::Mapped(file) => file.all_processes().map(Iterator::collect),
            Self::InRootOf(process, _) => Some(vec![process]),
        }
    }

    /// Whether only processes with longer lists of mappings than usual have mapped it.
    pub fn is_of_long_list(self) -> bool {
        matches!(self, Self::Mapped(file) if file.is_of_long_list)
    }

    /// What it takes to open and read it.
    pub fn target(self) -> CallTarget {
        match self {
            Self::Mapped(file) => CallTarget::FileSystem(file.identity.device),
            Self::InRootOf(process, _) => CallTarget::Process(process),
        }
    }
}

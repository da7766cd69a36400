//! The filters of events, in files that are kept open: opening such a file takes some ten times as long as reading it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit};

use crate::dir::Dir;
use crate::event_settings::{FILTER, meaning, path};

/// A longer filter is compared by its beginning, in bytes. No filter of the kernel is longer (`PAGE_SIZE`).
const LONGEST: usize = 4096;

/// The part of the limit of open files that may be used: another thread may need some as well.
const SHARE: u64 = 4;

/// Open files by event. They prevent the removal of the instance.
#[derive(Debug)]
pub(crate) struct OpenFilters {
    files: BTreeMap<String, OpenFilter>,
    room: usize,
}

#[derive(Debug)]
struct OpenFilter {
    file: File,
    /// What the file had when the filter was as it should be.
    text: Vec<u8>,
}

impl OpenFilters {
    pub(crate) fn new() -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        Self { files: BTreeMap::new(), room: usize::try_from(limit / SHARE).unwrap_or(usize::MAX) }
    }

    /// Reads the filter of an event, and keeps its file open if it is as it should be, unless there are too many. `None` if it cannot
    /// be read.
    pub(crate) fn add(
        &mut self,
        instance: &Dir,
        event: &str,
        is_right: impl FnOnce(&str) -> bool,
    ) -> Option<String> {
        let file = instance.open_file(path(event, FILTER), OFlag::O_RDONLY).ok()?;
        let text = read(&file).ok()?;
        let found = meaning(&String::from_utf8_lossy(&text));
        if is_right(&found) && self.files.len() < self.room {
            self.files.insert(event.to_owned(), OpenFilter { file, text });
        }
        Some(found)
    }

    pub(crate) fn have(&self, event: &str) -> bool {
        self.files.contains_key(event)
    }

    /// The filters that differ: of which event, how the filter should be, and how it is.
    pub(crate) fn changed(&self) -> Vec<(String, String, String)> {
        let changed = self.files.iter().filter_map(|(event, filter)| {
            // It cannot be read if the event is being removed.
            let found = read(&filter.file).ok().filter(|found| *found != filter.text)?;
            let text = |bytes: &[u8]| meaning(&String::from_utf8_lossy(bytes));
            Some((event.clone(), text(&filter.text), text(&found)))
        });
        changed.filter(|(_, set, found)| set != found).collect()
    }
}

fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut buffer = [0; LONGEST];
    let length = file.read_at(&mut buffer, 0)?;
    Ok(buffer[..length].to_vec())
}

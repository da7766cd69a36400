//! What the files with unread output may take together. The run directory is often in memory.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use super::record::Record;
use super::run_directory::{RunDirectory, SESSION, SUMMARY, TRACE, UNREAD};
use super::summary_file;
use crate::environment::{self, LEFTOVER};
use crate::error::{Error, Result};

/// More than the text of a full spool of the default size, which is about four times as long.
const DEFAULT_MIB: u64 = 2048;
const MOST_MIB: u64 = 1 << 30;
/// After so many bytes, it is looked up again what the others take: many sessions may end at once.
const STEP: u64 = 1 << 20;

/// The limit in bytes that the variable gives.
///
/// # Errors
///
/// It is not a number, or out of range.
pub fn limit() -> Result<u64> {
    let Some(value) = environment::variable(LEFTOVER) else { return Ok(DEFAULT_MIB << 20) };
    match value.to_str().and_then(|text| text.parse().ok()) {
        Some(mib @ 1..=MOST_MIB) => Ok(mib << 20),
        _ => Err(Error::Variable {
            variable: LEFTOVER,
            problem: format!("is not a size in MiB, from 1 to {MOST_MIB}"),
            value,
        }),
    }
}

/// The unread output of all sessions, from the view of one that adds to it.
#[derive(Debug)]
pub struct UnreadFiles {
    directory: RunDirectory,
    /// The session that adds to it.
    session: String,
    limit: u64,
    /// What the files of the other sessions took, and the size of this session's file, when it was looked up.
    others: Option<(u64, u64)>,
}

/// A file with the unread output of another session.
struct UnreadFile {
    session: String,
    path: PathBuf,
    size: u64,
    modified: SystemTime,
}

impl UnreadFiles {
    /// At most `limit` bytes in all, for this session to add to.
    pub fn beside(record: &Record, limit: u64) -> Self {
        Self { directory: record.directory().clone(), session: record.session.clone(), limit, others: None }
    }

    /// Makes room for this session's file to have this size: removes files of ended sessions, the oldest first.
    ///
    /// # Errors
    ///
    /// There is not enough room even without them.
    pub fn make_room(&mut self, size: u64) -> io::Result<()> {
        let room = self.limit.saturating_sub(size);
        let others = match self.others {
            Some((others, at)) if others <= room && size < at + STEP => others,
            _ => {
                let others = self.reduce_others_to(room);
                self.others = Some((others, size));
                others
            }
        };
        match size <= self.limit && others <= room {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "the unread output of all sessions would take more than {LEFTOVER}={}",
                self.limit >> 20
            ))),
        }
    }

    /// Removes files until the others take no more than this. Returns what they take then.
    fn reduce_others_to(&self, room: u64) -> u64 {
        let mut files: Vec<UnreadFile> = self.of_others(TRACE).chain(self.of_others(UNREAD)).collect();
        files.sort_by_key(|file| file.modified);
        // A session removes its record last.
        let unended = self.directory.sessions(SESSION).unwrap_or_default();
        let mut size = files.iter().map(|file| file.size).sum();
        for file in files.iter().filter(|file| !unended.contains(&file.session)) {
            if size > room && self.remove(file) {
                size -= file.size;
            }
        }
        size
    }

    fn remove(&self, file: &UnreadFile) -> bool {
        let removed = fs::remove_file(&file.path);
        if removed.is_ok() {
            let reason = format!("removed to keep within {LEFTOVER}={}", self.limit >> 20);
            log::warn!("{} is {reason}", file.path.display());
            summary_file::note(&self.directory.file(&file.session, SUMMARY), &reason);
        }
        removed.is_ok()
    }

    fn of_others(&self, kind: &'static str) -> impl Iterator<Item = UnreadFile> {
        let sessions = self.directory.sessions(kind).unwrap_or_default();
        let others = sessions.into_iter().filter(|session| *session != self.session);
        others.filter_map(move |session| {
            let path = self.directory.file(&session, kind);
            // The trace file of a live session is a FIFO.
            let metadata = path.symlink_metadata().ok().filter(fs::Metadata::is_file)?;
            Some(UnreadFile { session, path, size: metadata.len(), modified: metadata.modified().ok()? })
        })
    }
}

//! Unread output, which replaces the trace file as a regular file at the end of a session.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::lines::Lines;
use super::record::Record;
use super::unread_files::UnreadFiles;
use crate::error::Error;

/// How much is written at a time.
const BUFFER: usize = 64 << 10;

/// Unread lines on their way to the file.
#[derive(Debug)]
pub struct UnreadOutput {
    /// `None`: the lines are only counted.
    destination: Option<Destination>,
    file: Option<File>,
    /// Lines that are not written yet.
    buffer: Lines,
    /// The limit for all sessions.
    all_files: Option<UnreadFiles>,
    /// For each line that is written, whether it begins an event.
    are_events: Vec<bool>,
    length: u64,
    /// All events that were added.
    events: u64,
    failure: Option<io::Error>,
}

#[derive(Debug)]
struct Destination {
    path: PathBuf,
    /// The path at which the lines are stored until all are written.
    temporary: PathBuf,
}

/// The result of storing unread lines.
#[derive(Debug)]
pub struct StoredOutput {
    /// Whether the file has replaced the trace file.
    pub is_in_place: bool,
    /// The number of events in the file.
    pub events: u64,
    /// The number of events that are not in the file.
    pub dropped: u64,
    /// The reason, if they should have been stored.
    pub failure: Option<Error>,
    /// For each line in the file, whether it begins an event.
    pub are_events: Vec<bool>,
}

impl UnreadOutput {
    /// Stores lines in the place of the trace file of this session, and keeps the unread output of all sessions within
    /// `limit` bytes.
    pub fn of(record: &Record, limit: u64) -> Self {
        let destination = Destination { path: record.trace_path(), temporary: record.unread_output_path() };
        Self::new(Some(destination), Some(UnreadFiles::beside(record, limit)))
    }

    /// Drops lines, and counts the events in them.
    pub fn dropped() -> Self {
        Self::new(None, None)
    }

    fn new(destination: Option<Destination>, all_files: Option<UnreadFiles>) -> Self {
        Self {
            destination,
            file: None,
            buffer: Lines::default(),
            all_files,
            are_events: Vec::new(),
            length: 0,
            events: 0,
            failure: None,
        }
    }

    /// Adds lines. After a failure, which [`Self::put_in_place`] returns, they are dropped.
    pub fn add(&mut self, lines: Lines) {
        self.events += lines.events();
        if self.destination.is_some() && self.failure.is_none() {
            self.buffer.append(lines);
            if self.buffer.text().len() >= BUFFER {
                self.flush();
            }
        }
    }

    /// Writes the buffer. If not all of it can be written, the file ends with the last whole line.
    fn flush(&mut self) {
        let lines = self.buffer.take_all();
        if lines.is_empty() || self.failure.is_some() {
            return;
        }
        let (written, failure) = match self.make_room(lines.text().len()).and_then(|()| self.opened()) {
            Ok(file) => write(file, lines.text()),
            Err(error) => (0, Some(error)),
        };
        let mut end = 0;
        for line in lines.iter() {
            end += line.length;
            if end > written {
                break;
            }
            self.are_events.push(line.is_event);
            self.length += line.length as u64;
        }
        if let (Some(_), Some(file)) = (&failure, &self.file)
            && let Err(error) = file.set_len(self.length)
        {
            log::warn!("an incomplete line is left at the end of the trace: {error}");
        }
        self.failure = failure;
    }

    fn make_room(&mut self, text: usize) -> io::Result<()> {
        let size = self.length + text as u64;
        self.all_files.as_mut().map_or(Ok(()), |files| files.make_room(size))
    }

    fn opened(&mut self) -> io::Result<&mut File> {
        let file = match (self.file.take(), &self.destination) {
            (Some(file), _) => file,
            (None, Some(destination)) => {
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(true).mode(0o600).open(&destination.temporary)?
            }
            (None, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(self.file.insert(file))
    }

    /// Replaces the trace file by the file, atomically.
    pub fn put_in_place(mut self) -> StoredOutput {
        self.flush();
        let Self { destination, file, are_events, events, failure, .. } = self;
        let (Some(destination), Some(_)) = (&destination, file) else {
            // There was nothing to write, or the file could not be created.
            let failure = failure.zip(destination).map(|(error, to)| failed(&to.path)(error));
            return StoredOutput { is_in_place: false, events: 0, dropped: events, failure, are_events };
        };
        let renamed = fs::rename(&destination.temporary, &destination.path);
        let is_in_place = renamed.is_ok();
        let failure = failure.or(renamed.err()).map(failed(&destination.path));
        let stored = are_events.iter().filter(|is_event| is_in_place && **is_event).count() as u64;
        StoredOutput { is_in_place, events: stored, dropped: events - stored, failure, are_events }
    }
}

/// Writes text. Returns how much of it was written, and why not all.
fn write(file: &mut File, text: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < text.len() {
        match file.write(&text[written..]) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    Error::io("store the unread output in", path)
}

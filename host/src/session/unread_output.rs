//! What no reader took: at the end it lies as an ordinary file where the trace file was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::count_events::count_events;
use super::record::Record;
use crate::error::Error;

/// Lines that nobody took, on their way to the file.
#[derive(Debug)]
pub struct UnreadOutput {
    /// Where to put it, and where to gather it. None: it is only counted.
    place: Option<(PathBuf, PathBuf)>,
    file: Option<BufWriter<File>>,
    events: u64,
    failure: Option<io::Error>,
}

/// What became of lines that nobody took.
#[derive(Debug)]
pub struct StoredOutput {
    /// They lie where the trace file was.
    pub is_in_place: bool,
    /// How many events they tell of, or would if they were to be kept.
    pub events: u64,
    /// How many they should tell of, and do not.
    pub missing: u64,
    /// Why.
    pub failure: Option<Error>,
}

impl UnreadOutput {
    /// Nothing so far.
    pub fn of(record: &Record) -> Self {
        let place = (record.trace_path(), record.unread_output_path());
        Self { place: Some(place), file: None, events: 0, failure: None }
    }

    /// Lines that are to be counted only.
    pub fn nowhere() -> Self {
        Self { place: None, file: None, events: 0, failure: None }
    }

    /// Adds lines. After a failure, which [`Self::put_in_place`] tells, they are counted only.
    pub fn add(&mut self, lines: &[u8]) {
        self.events += count_events(lines);
        if self.failure.is_none() {
            self.failure = self.write(lines).err();
        }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match (&mut self.file, &self.place) {
            _ if lines.is_empty() => Ok(()),
            (Some(file), _) => file.write_all(lines),
            (None, Some((_, temporary))) => {
                let mut options = OpenOptions::new();
                let file =
                    options.read(true).write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
                self.file.insert(BufWriter::new(file)).write_all(lines)
            }
            (None, None) => Ok(()),
        }
    }

    /// Adds all lines that come.
    ///
    /// # Errors
    ///
    /// They do not come.
    pub fn add_all(&mut self, lines: &mut impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            self.add(&line);
            line.clear();
        }
        Ok(())
    }

    /// Puts the file in the place of the trace file, in one step. If not all lines could be written, it ends with the last
    /// whole one that was.
    pub fn put_in_place(mut self) -> StoredOutput {
        let Some((path, temporary)) = self.place else {
            return StoredOutput { is_in_place: false, events: self.events, missing: 0, failure: None };
        };
        let Some(file) = self.file else {
            // Either there was nothing to be written, or the file could not be made.
            let failure = self.failure.map(failed(&path));
            return StoredOutput { is_in_place: false, events: 0, missing: self.events, failure };
        };
        let (file, unwritten) = file.into_parts();
        if self.failure.is_none() {
            self.failure =
                unwritten.map_err(io::Error::other).and_then(|rest| (&file).write_all(&rest)).err();
        }
        let mut kept = self.events;
        if self.failure.is_some() {
            kept = cut_after_last_line(&file).unwrap_or(0);
        }
        let renamed = fs::rename(temporary, &path);
        let is_in_place = renamed.is_ok();
        let failure = self.failure.or(renamed.err()).map(failed(&path));
        let kept = if is_in_place { kept } else { 0 };
        StoredOutput { is_in_place, events: kept, missing: self.events - kept, failure }
    }
}

/// Cuts off what is behind the last line end. Returns how many events the lines tell of.
fn cut_after_last_line(file: &File) -> io::Result<u64> {
    let mut lines = BufReader::new(file);
    lines.rewind()?;
    let (mut line, mut length, mut events) = (Vec::new(), 0, 0);
    while lines.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
        length += line.len() as u64;
        events += count_events(&line);
        line.clear();
    }
    file.set_len(length)?;
    Ok(events)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    Error::io("keep what no reader took in", path)
}

//! What no reader took: at the end it lies as an ordinary file where the trace file was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::record::Record;
use super::verdict::count_events;

/// Lines that nobody took, on their way to the file.
#[derive(Debug)]
pub struct Leftover {
    /// Where to put it, and where to gather it. None: it is only counted.
    place: Option<(PathBuf, PathBuf)>,
    file: Option<BufWriter<File>>,
    events: u64,
}

impl Leftover {
    /// Nothing so far.
    pub fn of(record: &Record) -> Self {
        let place = (record.trace_path(), record.leftover_path());
        Self { place: Some(place), file: None, events: 0 }
    }

    /// Lines that are to be counted only.
    pub fn nowhere() -> Self {
        Self { place: None, file: None, events: 0 }
    }

    /// Adds lines.
    pub fn add(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        self.events += count_events(lines);
        match (&mut self.file, &self.place) {
            (Some(file), _) => file.write_all(lines),
            (None, Some((_, temporary))) => {
                let file =
                    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
                self.file.insert(BufWriter::new(file)).write_all(lines)
            }
            (None, None) => Ok(()),
        }
    }

    /// Adds all lines that come.
    pub fn add_all(&mut self, lines: &mut impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            self.add(&line)?;
            line.clear();
        }
        Ok(())
    }

    /// How many events the lines tell of.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Puts the file in the place of the trace file, in one step. `false`: there is nothing to be put.
    pub fn put_in_place(self) -> io::Result<bool> {
        let (Some(file), Some((path, temporary))) = (self.file, self.place) else {
            return Ok(false);
        };
        file.into_inner().map_err(io::IntoInnerError::into_error)?;
        fs::rename(temporary, path)?;
        Ok(true)
    }
}

//! What no reader took: at the end it lies as an ordinary file where the trace file was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::record::Record;
use super::verdict::count_events;
use crate::error::{Error, Result};

/// Lines that nobody took, on their way to the file.
#[derive(Debug)]
pub struct Leftover {
    /// Where to put it, and where to gather it. None: it is only counted.
    place: Option<(PathBuf, PathBuf)>,
    file: Option<BufWriter<File>>,
    events: u64,
    failure: Option<io::Error>,
}

impl Leftover {
    /// Nothing so far.
    pub fn of(record: &Record) -> Self {
        let place = (record.trace_path(), record.leftover_path());
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
                let file =
                    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
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

    /// How many events the lines tell of.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Puts the file in the place of the trace file, in one step. `false`: there is nothing to be put.
    ///
    /// # Errors
    ///
    /// Not all lines could be kept. Those that could are in place all the same.
    pub fn put_in_place(mut self) -> Result<bool> {
        let Some((path, temporary)) = &self.place else {
            return Ok(false);
        };
        if let Some(file) = &mut self.file {
            let flushed = file.flush();
            let renamed = fs::rename(temporary, path);
            self.failure = self.failure.or(flushed.err()).or(renamed.err());
        }
        match self.failure {
            Some(source) => Err(Error::io("keep what no reader took in", path)(source)),
            None => Ok(self.file.is_some()),
        }
    }
}

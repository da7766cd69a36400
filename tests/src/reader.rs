use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{PATIENCE, wait_until};

/// Reads a trace as container-tracer does: with a new buffer for every line, so that only the first line of each read is
/// kept.
pub struct Reader {
    lines: Arc<Mutex<Vec<String>>>,
    end: Receiver<()>,
}

impl Reader {
    /// Reads the file, as fast as it can.
    #[track_caller]
    pub fn of(path: &Path) -> Self {
        Self::slow(path, Duration::ZERO)
    }

    /// Reads the file, and takes `pause` for each line. The file is open when this returns.
    #[track_caller]
    pub fn slow(path: &Path, pause: Duration) -> Self {
        Self::of_file(open(path).expect("the trace can be opened"), pause)
    }

    /// Reads the file, if it exists.
    #[track_caller]
    pub fn if_there(path: &Path) -> Option<Self> {
        open(path).ok().map(|file| Self::of_file(file, Duration::ZERO))
    }

    /// Reads an open file, and takes `pause` for each line.
    pub fn of_file(mut file: File, pause: Duration) -> Self {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let (at_end, end) = channel();
        let read = Arc::clone(&lines);
        std::thread::spawn(move || {
            while let Some(line) = next_line(&mut file) {
                read.lock().expect("no reader panics").push(line);
                std::thread::sleep(pause);
            }
            let _ = at_end.send(());
        });
        Self { lines, end }
    }

    /// Reads `count` lines; returns them with their newlines.
    pub fn first(mut file: File, count: usize) -> Vec<String> {
        (0..count).map(|_| next_line(&mut file).expect("there is a line")).collect()
    }

    /// The lines so far, with their newlines.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no reader panics").clone()
    }

    /// Waits until `count` lines have been read, as long as there is progress.
    #[track_caller]
    pub fn wait_for(&self, count: usize) {
        let mut so_far = self.count();
        while so_far < count {
            wait_until(&format!("one line more than {so_far} is read"), PATIENCE, || self.count() > so_far);
            so_far = self.count();
        }
    }

    /// The number of lines so far.
    pub fn count(&self) -> usize {
        self.lines.lock().expect("no reader panics").len()
    }

    /// The last line so far, with its newline.
    pub fn last(&self) -> Option<String> {
        self.lines.lock().expect("no reader panics").last().cloned()
    }

    /// Waits for the end of the file; returns all lines.
    #[track_caller]
    pub fn finish(self) -> Vec<String> {
        self.end.recv_timeout(PATIENCE).expect("the reader comes to the end of the file");
        self.lines()
    }
}

#[track_caller]
fn open(path: &Path) -> io::Result<File> {
    let (is_open, opened) = channel();
    let path = path.to_owned();
    // Opening a FIFO blocks until it has a writer, so another thread does it.
    std::thread::spawn(move || is_open.send(File::open(path)));
    opened.recv_timeout(PATIENCE).expect("the trace has a writer")
}

/// The first line of the next read, completed by further reads if it is not whole.
fn next_line(file: &mut File) -> Option<String> {
    let mut line = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let length = file.read(&mut buffer).expect("a trace can be read");
        match buffer[..length].iter().position(|byte| *byte == b'\n') {
            Some(end) => line.extend_from_slice(&buffer[..=end]),
            None => line.extend_from_slice(&buffer[..length]),
        }
        if length == 0 && line.is_empty() {
            return None;
        }
        if length == 0 || line.ends_with(b"\n") {
            return Some(String::from_utf8_lossy(&line).into_owned());
        }
    }
}

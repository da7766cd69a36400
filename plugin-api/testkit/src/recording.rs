use std::collections::VecDeque;
use std::time::{Duration, Instant};

use trace_hook_api::{Format, HookError, LineBuffer, Progress, Result, Session};

/// How much text is taken at a time.
const ROOM: usize = 1 << 20;

/// A session on trial. Dropping it must leave nothing in the kernel.
pub struct Recording {
    session: Box<dyn Session>,
    format: Format,
    /// Lines that came, but were not asked for yet.
    waiting: VecDeque<String>,
    finished: bool,
}

impl Recording {
    pub(crate) fn new(session: Box<dyn Session>, format: Format) -> Self {
        Self { session, format, waiting: VecDeque::new(), finished: false }
    }

    /// The lines that are there now.
    ///
    /// # Errors
    ///
    /// The session is broken, or gave something that is not whole lines of UTF-8.
    pub fn lines(&mut self) -> Result<Vec<String>> {
        while self.take_lines()? == Progress::More {}
        Ok(self.waiting.drain(..).collect())
    }

    /// The first line that holds `text`; the ones before it are passed over.
    ///
    /// # Errors
    ///
    /// No such line came within the limit.
    pub fn line_with(&mut self, text: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            while self.take_lines()? == Progress::More {}
            while let Some(line) = self.waiting.pop_front() {
                if line.contains(text) {
                    return Ok(line);
                }
            }
            if self.finished || Instant::now() > deadline {
                return Err(HookError::new(format!("no line with '{text}' came")));
            }
            // The host, too, looks every few milliseconds.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stops the session, and gives the lines that were still to come.
    ///
    /// # Errors
    ///
    /// The session is broken, or leaves something behind.
    pub fn stop(mut self) -> Result<Vec<String>> {
        self.session.stop()?;
        while self.take_lines()? != Progress::Finished {}
        self.session.close()?;
        Ok(self.waiting.into())
    }

    fn take_lines(&mut self) -> Result<Progress> {
        if self.finished {
            return Ok(Progress::Finished);
        }
        let mut buffer = LineBuffer::with_room(ROOM).in_format(self.format);
        let progress = self.session.read(&mut buffer)?;
        let text = std::str::from_utf8(buffer.as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(HookError::new(format!("not a whole line: {text:?}")));
        }
        self.waiting.extend(text.lines().map(str::to_owned));
        self.finished = progress == Progress::Finished;
        Ok(progress)
    }
}

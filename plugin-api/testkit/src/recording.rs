use std::collections::VecDeque;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use trace_hook_api::{Format, HookError, LineBuffer, Progress, Result, Session};

/// How much text is taken at a time.
const ROOM: usize = 1 << 20;

/// How long anything may take: as long as `manager --check` gives a session.
const LIMIT: Duration = Duration::from_secs(5);

/// A session on trial. Dropping it must leave nothing in the kernel.
///
/// Nothing here takes more than five seconds, or for [`line_with`](Self::line_with) that much beyond its limit: a session
/// that hangs is an error.
pub struct Recording {
    /// None: it has not returned from a call.
    session: Option<Box<dyn Session>>,
    format: Format,
    /// Lines that came, but were not asked for yet.
    waiting: VecDeque<String>,
    finished: bool,
}

impl Recording {
    pub(crate) fn new(session: Box<dyn Session>, format: Format) -> Self {
        Self { session: Some(session), format, waiting: VecDeque::new(), finished: false }
    }

    /// The lines that are there now.
    ///
    /// # Errors
    ///
    /// The session is broken, gave something that is not whole lines of UTF-8, or gives lines without end.
    pub fn lines(&mut self) -> Result<Vec<String>> {
        self.take_all_lines()?;
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
            let progress = self.take_lines()?;
            while let Some(line) = self.waiting.pop_front() {
                if line.contains(text) {
                    return Ok(line);
                }
            }
            if self.finished || Instant::now() > deadline {
                return Err(HookError::new(format!("no line with '{text}' came")));
            }
            if progress != Progress::More {
                // The host, too, looks every few milliseconds.
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Stops the session, and gives the lines that were still to come.
    ///
    /// # Errors
    ///
    /// The session is broken, does not come to its end, or leaves something behind.
    pub fn stop(mut self) -> Result<Vec<String>> {
        self.call("stop", |session| session.stop())?;
        let deadline = Instant::now() + LIMIT;
        while self.take_lines()? != Progress::Finished {
            if Instant::now() > deadline {
                return Err(HookError::new(format!(
                    "{} s after it was stopped it has not told its end (Progress::Finished)",
                    LIMIT.as_secs()
                )));
            }
        }
        self.call("close", |session| session.close())?;
        Ok(self.waiting.into())
    }

    fn take_all_lines(&mut self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while self.take_lines()? == Progress::More {
            if Instant::now() > deadline {
                return Err(HookError::new(format!(
                    "it has given lines for {} s and says that there are more (Progress::More)",
                    LIMIT.as_secs()
                )));
            }
        }
        Ok(())
    }

    fn take_lines(&mut self) -> Result<Progress> {
        if self.finished {
            return Ok(Progress::Finished);
        }
        let mut buffer = LineBuffer::with_room(ROOM).in_format(self.format);
        let (progress, buffer) =
            self.call("read", move |session| Ok((session.read(&mut buffer)?, buffer)))?;
        let text = std::str::from_utf8(buffer.as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(HookError::new(format!("not a whole line: {text:?}")));
        }
        self.waiting.extend(text.lines().map(str::to_owned));
        self.finished = progress == Progress::Finished;
        Ok(progress)
    }

    /// Calls the session in a thread of its own: one that never returns is left behind there.
    fn call<T: Send + 'static>(
        &mut self,
        name: &str,
        function: impl FnOnce(&mut dyn Session) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let hung = || HookError::new(format!("it took more than {} s in {name}", LIMIT.as_secs()));
        let mut session = self.session.take().ok_or_else(hung)?;
        let (sender, receiver) = mpsc::channel();
        let caller = thread::spawn(move || {
            let result = function(&mut *session);
            // Nobody waits any more for one that hung.
            let _ = sender.send((session, result));
        });
        match receiver.recv_timeout(LIMIT) {
            Ok((session, result)) => {
                self.session = Some(session);
                result
            }
            Err(RecvTimeoutError::Timeout) => Err(hung()),
            Err(RecvTimeoutError::Disconnected) => match caller.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(()) => Err(hung()),
            },
        }
    }
}

use std::collections::VecDeque;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use trace_hook_api::{EventInfo, Format, HookError, LineBuffer, Progress, Result, Session, check_json_line};

/// How many bytes of text are read at a time.
const ROOM: usize = 1 << 20;

/// The time limit of a call: that of `manager --check`.
const LIMIT: Duration = Duration::from_secs(5);

/// A session under test. Dropping it must leave nothing in the kernel.
///
/// No call takes longer than five seconds, or for [`line_with`](Self::line_with) five seconds beyond its limit: a session that
/// hangs is an error. In JSON each line is checked against the hook's [description](trace_hook_api::HookInfo::event).
pub struct Recording {
    /// `None`: it has not returned from a call.
    session: Option<Box<dyn Session>>,
    format: Format,
    /// The hook's description of its lines.
    events: Vec<EventInfo>,
    /// Lines that were read and not returned yet.
    waiting: VecDeque<String>,
    finished: bool,
}

impl Recording {
    pub(crate) fn new(session: Box<dyn Session>, format: Format, events: Vec<EventInfo>) -> Self {
        Self { session: Some(session), format, events, waiting: VecDeque::new(), finished: false }
    }

    /// Returns the lines that are there now.
    ///
    /// # Errors
    ///
    /// The session failed, gave something that is not UTF-8 or not as described, or gives lines without end.
    pub fn lines(&mut self) -> Result<Vec<String>> {
        self.take_all_lines()?;
        Ok(self.waiting.drain(..).collect())
    }

    /// Returns the first line that contains `text`, and skips those before it.
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
                // The host polls every few milliseconds, too.
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Stops the session, and returns the remaining lines.
    ///
    /// # Errors
    ///
    /// The session failed, does not finish, or cannot remove what it made.
    pub fn stop(mut self) -> Result<Vec<String>> {
        self.call("stop", |session| session.stop())?;
        let deadline = Instant::now() + LIMIT;
        while self.take_lines()? != Progress::Finished {
            if Instant::now() > deadline {
                return Err(HookError::new(format!(
                    "{} s after it was stopped it has not returned Progress::Finished",
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
                    "it has given lines for {} s and still returns Progress::More",
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
        if self.format == Format::Json {
            text.lines().try_for_each(|line| self.check_json(line))?;
        }
        self.waiting.extend(text.lines().map(str::to_owned));
        self.finished = progress == Progress::Finished;
        Ok(progress)
    }

    fn check_json(&self, line: &str) -> Result<()> {
        check_json_line(&self.events, line.as_bytes()).map_err(|problem| {
            HookError::new(format!("a line does not match its description: {problem}; in {line}"))
        })
    }

    /// Calls the session in a thread of its own, where a call that never returns is left behind.
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
            // Nothing receives it after a timeout.
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

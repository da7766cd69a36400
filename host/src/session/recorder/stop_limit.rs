//! The limit for the output of a stopped session.
//!
//! The events that were recorded before the stop may take long to read: the spool may be full, or the machine busy. The
//! limit therefore grows with the output. A session that never ends returns too little text for the time of its reads,
//! or too much.

use std::time::{Duration, Instant};

use crate::patience::patient;
use trace_hook_api::{HookError, Progress, Result};

/// A session that returns no lines and `Progress::Idle` for this long will never end.
const SILENCE: Duration = Duration::from_secs(2);
/// The time that all reads may take if they return little text.
const READ_TIME: Duration = Duration::from_millis(3500);
/// The slowest that a session may turn a backlog into text, in bytes per second.
const SLOWEST_TEXT: u64 = 1 << 20;
/// The slowest that it may process its spool without returning text, in bytes per second.
const SLOWEST_SPOOL: u64 = 4 << 20;
/// The most text per byte of its spool, and the most text of the kernel's buffers.
const MOST_TEXT_OF_SPOOL: u64 = 64;
const MOST_TEXT_OF_BUFFERS: u64 = 1 << 30;

/// The reads of a session since its stop.
#[derive(Debug)]
pub struct StopLimit {
    stopped: Instant,
    spool_size: u64,
    /// When it last returned lines, or `Progress::More`.
    last_sign: Instant,
    read_time: Duration,
    text: u64,
}

impl StopLimit {
    /// The limit of a session that is stopped now.
    pub fn new(spool_size: u64) -> Self {
        let now = Instant::now();
        Self { stopped: now, spool_size, last_sign: now, read_time: Duration::ZERO, text: 0 }
    }

    /// Notes a read that there was room for. Returns whether the session makes progress towards its end.
    ///
    /// # Errors
    ///
    /// The session will not end.
    pub fn note(&mut self, took: Duration, text: usize, progress: Progress) -> Result<bool> {
        self.read_time += took;
        self.text += text as u64;
        let makes_progress = text > 0 || progress == Progress::More;
        if makes_progress {
            self.last_sign = Instant::now();
        } else if self.last_sign.elapsed() > patient(SILENCE) {
            let limit = patient(SILENCE).as_secs();
            return Err(HookError::new(format!(
                "read() returned neither lines nor Progress::Finished for {limit} s after stop()"
            )));
        }
        if self.read_time > self.allowed_time(progress) || self.text > self.allowed_text() {
            return Err(HookError::new(format!(
                "read() still returned lines {:.1} s after stop(), and never Progress::Finished",
                self.stopped.elapsed().as_secs_f32()
            )));
        }
        Ok(makes_progress)
    }

    /// Notes a read that there was no room for: the session could not return lines.
    pub fn note_no_room(&mut self) {
        self.last_sign = Instant::now();
    }

    fn allowed_time(&self, progress: Progress) -> Duration {
        let for_text = Duration::from_secs_f64(self.text as f64 / SLOWEST_TEXT as f64);
        let for_spool = match progress {
            Progress::More => Duration::from_secs_f64(self.spool_size as f64 / SLOWEST_SPOOL as f64),
            _ => Duration::ZERO,
        };
        patient(READ_TIME) + for_text + for_spool
    }

    fn allowed_text(&self) -> u64 {
        self.spool_size.saturating_mul(MOST_TEXT_OF_SPOOL).saturating_add(MOST_TEXT_OF_BUFFERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOOL: u64 = 256 << 20;

    #[test]
    fn session_that_trickles_lines_is_refused() {
        let mut limit = StopLimit::new(SPOOL);
        let mut read = || limit.note(Duration::from_millis(1), 9, Progress::Idle);
        let reads = (0..10_000).take_while(|_| read().is_ok()).count();
        assert!((3_500..4_000).contains(&reads), "{reads}");
        assert!(read().unwrap_err().to_string().contains("still returned lines"));
    }

    #[test]
    fn full_spool_may_take_minutes() {
        let mut limit = StopLimit::new(SPOOL);
        for _ in 0..1_024 {
            assert_eq!(limit.note(Duration::from_millis(100), 256 << 10, Progress::Idle), Ok(true));
        }
    }

    #[test]
    fn session_without_text_may_work_through_its_spool() {
        let mut limit = StopLimit::new(SPOOL);
        for _ in 0..60 {
            assert_eq!(limit.note(Duration::from_secs(1), 0, Progress::More), Ok(true));
        }
        assert!(limit.note(Duration::from_secs(10), 0, Progress::More).is_err());
    }

    #[test]
    fn endless_text_is_refused() {
        let mut limit = StopLimit::new(1 << 20);
        let reads =
            (0..1 << 20).take_while(|_| limit.note(Duration::ZERO, 256 << 10, Progress::More).is_ok());
        assert!(reads.count() < 5_000);
    }
}

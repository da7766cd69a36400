//! How a session is stopped: by a signal, at its time limit, or because its output was closed or its caller has died.

use std::time::{Duration, Instant};

use super::Supervisor;
use super::status_line::StatusLine;
use crate::error::{Error, Result};
use crate::interrupts::Interrupt;
use crate::patience::patient;
use crate::session::recorder::READER_PATIENCE;
use crate::worker::protocol::Order;
use crate::worker::within;

/// How long a stopping worker may make no progress.
const PATIENCE: Duration = Duration::from_millis(3500);
/// The same where the path was not printed yet.
const UNDO_PATIENCE: Duration = Duration::from_secs(1);
/// After what time a stop counts as slow, so that it is worth looking whether the worker is frozen.
const SLOW: Duration = Duration::from_secs(1);

impl Supervisor<'_> {
    /// Handles a signal, unless it is meant for the command. All of a kind that came since the last time count as one.
    pub(super) fn on_interrupt(&mut self, interrupt: Interrupt, has_ended: bool) {
        if !self.is_for_command(interrupt) {
            self.on_stop(has_ended);
        }
    }

    fn on_stop(&mut self, has_ended: bool) {
        self.interrupted = true;
        match self.stopping {
            // The remainder of an ended trace need not be printed.
            _ if has_ended => self.give_up_printing(),
            None => self.stop(),
            // If the trace is printed, another signal ends the drain. Otherwise several signals, such as those of several calls of
            // --clear, count as one, and the reader keeps its time.
            Some(_) if self.printer.is_some() => self.worker.order(Order::EndDrain),
            Some(_) => {}
        }
    }

    pub(super) fn check_time_limit(&mut self) {
        if self.time_limit.is_some_and(|limit| limit <= Instant::now()) {
            self.time_limit = None;
            self.stop();
        }
    }

    /// Stops the session if its caller has died: it cannot do that any more.
    pub(super) fn check_caller(&mut self, is_recording: bool) {
        if is_recording && self.stopping.is_none() && self.caller.is_gone() {
            log::info!("stdout and stderr have lost their readers; ending the session");
            self.on_stop(false);
        }
    }

    /// Cancels a session whose path was not printed.
    pub(super) fn undo(&mut self) -> Result<()> {
        self.printer = None;
        self.command = None;
        self.order_end(Order::Discard, patient(UNDO_PATIENCE));
        match self.watch() {
            // The kernel may need long to start a session, for example to allocate large buffers. The worker is then
            // killed, and the session swept.
            Err(Error::Plugin { .. }) => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    pub(super) fn discard(&mut self) {
        self.order_end(Order::Discard, patient(PATIENCE));
    }

    pub(super) fn stop(&mut self) {
        self.order_end(Order::Stop, patient(PATIENCE));
    }

    fn order_end(&mut self, order: Order, patience: Duration) {
        self.worker.order(order);
        self.stopping.get_or_insert_with(|| self.worker.deadline(patience));
    }

    /// The worker has ended the session.
    pub(super) fn ended(&mut self) {
        self.is_clean = true;
        // Without a signal a pager may show the trace for hours.
        self.print_limit = self.interrupted.then(|| within(patient(READER_PATIENCE)));
        self.time_limit = None;
        self.stopping = None;
    }

    pub(super) fn extend_print_limit(&mut self) {
        self.print_limit = self.print_limit.map(|_| within(patient(READER_PATIENCE)));
    }

    /// Checks that a stopping worker makes progress.
    ///
    /// # Errors
    ///
    /// It does not.
    pub(super) fn check_progress(&mut self) -> Result<()> {
        let Some(deadline) = &mut self.stopping else { return Ok(()) };
        let has_observed = self.worker.observe(deadline);
        let (elapsed, is_over) = (deadline.elapsed(), deadline.is_over());
        if elapsed >= SLOW {
            self.status.iter_mut().for_each(StatusLine::report_end);
        }
        if has_observed && elapsed >= SLOW {
            self.check_frozen_at_stop();
        }
        if is_over { Err(self.worker.too_slow_after(elapsed)) } else { Ok(()) }
    }
}

//! Decoded system calls: one line for a call and its return, with the arguments by name.

use std::collections::HashMap;

use trace_hook_api::{LineBuffer, Origin, Result};
use trace_tasks::Pid;
use tracefs::format::Comm;
use tracefs::ring::Gap;
use tracefs_session::{EventStream, Record, Renderer, with_origin};

use super::call::{Arguments, EnterEvent, ExitEvent};

use crate::call_result::show_result;
use crate::running_calls::RunningCalls;
use crate::syscall_events::{self, SYSTEM};

/// A line for each call, when it has returned.
pub struct Decoded {
    enters: HashMap<u16, EnterEvent>,
    exits: HashMap<u16, ExitEvent>,
    running: RunningCalls<Running>,
}

/// A call that has not returned yet.
#[derive(Debug)]
struct Running {
    event: u16,
    began: u64,
    cpu: u32,
    process: Option<Pid>,
    comm: Comm,
    arguments: Arguments,
}

impl Decoded {
    /// # Errors
    ///
    /// The format of an event cannot be read.
    pub fn new(stream: &mut EventStream, calls: &[String]) -> Result<Self> {
        let mut decoded =
            Self { enters: HashMap::new(), exits: HashMap::new(), running: RunningCalls::default() };
        for call in calls {
            let enter = stream.format_of(SYSTEM, &syscall_events::enter_event(call))?;
            let exit = stream.format_of(SYSTEM, &syscall_events::exit_event(call))?;
            decoded.exits.extend(ExitEvent::of(&exit, call, enter.id).map(|event| (exit.id, event)));
            decoded.enters.insert(enter.id, EnterEvent::of(&enter, call));
        }
        Ok(decoded)
    }

    fn enter(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        let thread = record.task();
        // The record of its return was lost.
        if let Some(forgotten) = self.running.forget(thread) {
            self.show(thread, &forgotten, None, lines);
        }
        let Some(event) = self.enters.get(&record.id()) else { return };
        let running = Running {
            event: record.id(),
            began: record.time(),
            cpu: record.cpu(),
            process: record.process_of(thread),
            comm: record.comm_of(thread),
            arguments: event.arguments(record),
        };
        if event.never_returns {
            return self.show(thread, &running, None, lines);
        }
        let forgotten = self.running.begin(thread, running).collect();
        self.show_unfinished(forgotten, lines);
    }

    fn exit(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        let thread = record.task();
        let Some(event) = self.exits.get(&record.id()) else { return };
        let returned = (record.number(&event.result), record.time());
        match self.running.end(thread, |running| running.event == event.enter) {
            Ok(running) => self.show(thread, &running, Some(returned), lines),
            // It began before the session, or in another thread (execve(2) continues as the first one), or the record of its
            // beginning was lost.
            Err(other) => {
                if let Some(running) = other {
                    self.show(thread, &running, None, lines);
                }
                with_origin(record, thread, |_, origin| {
                    lines.add_event(origin, &event.call, |line| {
                        show_result(line.flag("resumed", true), returned.0, event.returns_address)
                    });
                });
            }
        }
    }

    /// Adds the lines of calls whose return was not seen, in the order in which they began.
    fn show_unfinished(&self, mut running: Vec<(Pid, Running)>, lines: &mut LineBuffer) {
        running.sort_by_key(|(_, running)| running.began);
        running.iter().for_each(|(thread, running)| self.show(*thread, running, None, lines));
    }

    /// Adds the line of a call of `thread`. Its time is when the call began; `returned` is its result, and when.
    fn show(&self, thread: Pid, running: &Running, returned: Option<(i64, u64)>, lines: &mut LineBuffer) {
        let Some(event) = self.enters.get(&running.event) else { return };
        let origin =
            Origin::at(running.began).cpu(running.cpu).pid(running.process).tid(thread).comm(&running.comm);
        lines.add_event(&origin, &event.call, |line| {
            let line = event.show(&running.arguments, line);
            match returned {
                Some((result, at)) => show_result(line, result, event.returns_address)
                    .duration("duration", at.saturating_sub(running.began)),
                None if event.never_returns => line,
                None => line.flag("unfinished", true),
            }
        });
    }
}

impl Renderer for Decoded {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        match self.enters.contains_key(&record.id()) {
            true => self.enter(record, lines),
            false => self.exit(record, lines),
        }
    }

    fn lost(&mut self, _gap: Gap) {
        self.running.lost();
    }

    /// Calls that have not returned may still be waiting for something.
    fn end(&mut self, lines: &mut LineBuffer) {
        let running = self.running.drain().collect();
        self.show_unfinished(running, lines);
    }
}

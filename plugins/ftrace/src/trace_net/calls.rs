//! The system calls that make connections.

use trace_hook_api::LineBuffer;
use trace_tasks::Pid;
use tracefs::format::Field;
use tracefs_session::{EventStream, Record, with_origin};

use super::sockets::Sockets;
use crate::call_result::show_result;
use crate::running_calls::RunningCalls;
use crate::tracepoint::Tracepoint;

/// The tracepoints of a call's entry and return, and the name of its event.
type CallTracepoints = (Tracepoint, Tracepoint, &'static str);

const CALLS: [CallTracepoints; 3] = [
    of("sys_enter_connect", "sys_exit_connect", "connect"),
    of("sys_enter_accept", "sys_exit_accept", "accept"),
    of("sys_enter_accept4", "sys_exit_accept4", "accept"),
];

const fn of(enter: &'static str, exit: &'static str, event: &'static str) -> CallTracepoints {
    (Tracepoint::new("syscalls", enter), Tracepoint::new("syscalls", exit), event)
}

/// The tracepoints of all calls. A kernel has them with CONFIG_FTRACE_SYSCALLS.
pub fn tracepoints() -> impl Iterator<Item = Tracepoint> {
    CALLS.into_iter().flat_map(|(enter, exit, _)| [enter, exit])
}

/// The calls that threads are in.
pub struct Calls {
    calls: Vec<Call>,
    running: RunningCalls<Running>,
}

/// The fields of the records of a call.
struct Call {
    enter: u16,
    exit: u16,
    event: &'static str,
    descriptor: Field,
    result: Field,
}

/// A call that has not returned yet.
struct Running {
    enter: u16,
    began: u64,
    descriptor: i64,
    /// The address in the kernel of the socket that it connects, once that is known.
    socket: Option<u64>,
}

impl Calls {
    pub fn new(stream: &mut EventStream) -> Self {
        let calls = CALLS.into_iter().filter_map(|call| Call::new(call, stream)).collect();
        Self { calls, running: RunningCalls::default() }
    }

    /// A thread begins to connect a socket, in whatever call it is.
    pub fn connecting(&mut self, thread: Pid, socket: u64) {
        if let Some(running) = self.running.get_mut(thread) {
            running.socket = Some(socket);
        }
    }

    /// Notes the entry of a call, or adds its line when it returns.
    pub fn record(&mut self, sockets: &Sockets, record: &mut Record<'_>, lines: &mut LineBuffer) {
        let (id, thread) = (record.id(), record.task());
        let Some(call) = self.calls.iter().find(|call| call.enter == id || call.exit == id) else { return };
        if call.enter == id {
            let descriptor = record.number(&call.descriptor);
            let running = Running { enter: id, began: record.time(), descriptor, socket: None };
            // A forgotten call has no line: that comes with the return.
            drop(self.running.begin(thread, running));
            return;
        }
        // `None` if it began before the session.
        let running = self.running.end(thread, |running| running.enter == call.enter).ok();
        call.show(running.as_ref(), sockets, record, lines);
    }

    /// Some records are missing.
    pub fn lost(&mut self) {
        self.running.lost();
    }
}

impl Call {
    /// `None` if the kernel does not have this call; any other error has already failed the start.
    fn new((enter, exit, event): CallTracepoints, stream: &mut EventStream) -> Option<Self> {
        let (enter, exit) = (enter.layout(stream).ok()?, exit.layout(stream).ok()?);
        let (descriptor, result) = (enter.field("fd").ok()?, exit.field("ret").ok()?);
        Some(Self { enter: enter.id(), exit: exit.id(), event, descriptor, result })
    }

    fn show(
        &self,
        running: Option<&Running>,
        sockets: &Sockets,
        record: &mut Record<'_>,
        lines: &mut LineBuffer,
    ) {
        let socket = running.and_then(|running| sockets.get(running.socket?));
        with_origin(record, record.task(), |record, origin| {
            lines.add_event(origin, self.event, |line| {
                let line = match running {
                    Some(Running { descriptor, .. }) => line.number("fd", *descriptor as i32),
                    None => line.flag("resumed", true),
                };
                let line = line.optional(socket.as_ref(), |line, socket| socket.show(line));
                show_result(line, record.number(&self.result), false).optional(running, |line, running| {
                    line.duration("duration", record.time().saturating_sub(running.began))
                })
            });
        });
    }
}

//! `trace_net`: the network activity of the traced tasks.

mod calls;
mod drops;
mod ends;
mod existing;
mod packets;
mod socket;
mod sockets;
mod states;
mod transfers;
mod view;
mod wording;

use trace_hook_api::{Environment, Format, Hook, HookInfo, Param, Request, Result, Selection, Session};
use tracefs::Instance;
use tracefs_session::TracefsSession;

use crate::tracepoint::{self, Tracepoint};
use view::NetView;

/// The hook.
pub struct TraceNet;

/// The tracepoints that every session needs.
const TRACEPOINTS: [Tracepoint; 6] = [
    Tracepoint::new("task", "task_newtask"),
    states::STATE,
    packets::RETRANSMIT,
    packets::SEND_RESET,
    packets::RECEIVE_RESET,
    drops::DROP,
];

impl Hook for TraceNet {
    fn info(&self) -> HookInfo {
        HookInfo::new(
            "trace_net",
            "TCP connections of the traced tasks and their states, what is sent and received, retransmits, resets and drops",
        )
        .formats([Format::Text, Format::Json]).selects([Selection::Exact, Selection::Parents])
        .param(Param::flag(
            "without-calls",
            "no lines of connect and accept; spares every task of the machine about 0.1us a system call",
        ))
        .details(DETAILS)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        tracepoint::check(environment, &TRACEPOINTS)
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let procfs = &request.environment.procfs;
        let with_calls = !request.arguments.flag("without-calls")?;
        let enable = |instance: &Instance| enable_own(instance, with_calls);
        let session =
            TracefsSession::start_with_system_wide(request, enable, enable_system_wide, |stream| {
                Ok(Box::new(NetView::new(stream, procfs)?))
            })?;
        Ok(Box::new(session))
    }
}

/// Enables the events of the traced tasks themselves.
fn enable_own(instance: &Instance, with_calls: bool) -> Result<()> {
    let has_it = |tracepoint: &Tracepoint| tracepoint.is_in(instance.tracefs());
    for call in calls::tracepoints().filter(|call| with_calls && has_it(call)) {
        call.enable(instance)?;
    }
    for transfer in [transfers::SEND, transfers::RECEIVE].into_iter().filter(has_it) {
        transfer.enable_where(transfers::OF_NETWORK, instance)?;
    }
    drops::enable_own(instance)
}

/// Enables the events of their sockets, whatever task runs: an instance that filters by task would miss those in interrupts.
fn enable_system_wide(instance: &Instance) -> Result<()> {
    for tracepoint in [states::STATE, packets::RETRANSMIT, packets::SEND_RESET, packets::RECEIVE_RESET] {
        tracepoint.enable(instance)?;
    }
    drops::enable_system_wide(instance)
}

const DETAILS: &str = "\
A line names a task and its id, the CPU, the time since boot in seconds, and one of the events below. Of what happens to a \
socket in an interrupt, the task is the traced one that used the socket last, or that listens; the CPU is where it happened.

`socket` numbers the sockets in the order in which they are met; one that is used for another connection has another \
number. So has a connection after lost events, among which another may have begun in its place, if it is used before the kernel \
tells its ends again. Of a protocol without connections, such as UDP, a new socket may have the number of one that was closed. \
With it come `family` (`AF_INET`, `AF_INET6`) and `protocol` (`TCP`, `UDP`, `ICMP`, ...), and where they are known \
the two ends, `local` and `remote`, each as ADDRESS:PORT or [ADDRESS]:PORT. A port of 0 is not \
known yet: the kernel tells of a connection's local port with what happens after its beginning, so a `connect` that did not \
wait (`EINPROGRESS`) may lack it.

state: the socket, of TCP, MPTCP or SCTP, goes from the state `old` to `new`: `CLOSE`, `SYN_SENT`, `SYN_RECV`, `ESTABLISHED`, \
`FIN_WAIT1`, `FIN_WAIT2`, `CLOSE_WAIT`, `LAST_ACK`, `CLOSING`, `LISTEN`. TIME_WAIT is not seen: the connection has left its socket then, \
which is shown to `CLOSE`.

connect: connect(2) returned. `fd`, the socket if it was a connection by TCP that this call began, `result`, with the name \
of the `error`, and `duration`, how long the call took. `resumed` says that it was not seen to begin, as at the beginning of the \
session and after lost events; there is no `fd` then, nor a `duration`.

accept: accept(2) or accept4(2) returned; `result` is the new descriptor. The kernel does not tell which connection that is; \
its states are shown as they come, as soon as it comes in.

send, receive: a message went into the socket or came out. `size` in bytes, or else `result` and the name of the `error`; \
`flags` are those of recv(2). What is only looked at (`MSG_PEEK`) is shown, too. Whichever call it was: read(2), sendfile(2) \
and io_uring as well. Linux 6.3 and later.

retransmit: a segment is sent once more; `state` is that of the socket. send_reset, receive_reset: the connection is broken \
off by this side, or the other; `reason` is the kernel's own, where it tells (Linux 6.10 and later).

drop: a packet was dropped on its way to the socket, for the `reason` that the kernel gives (Linux 5.17 and later) in the \
function `caller`. Without a socket: a packet that no socket was found for, while the task sent, say; if `interrupt` is there it \
came in while the task ran, and may be another's. What a socket that is closed still has in its queue is not shown.

Not seen: other families, as AF_UNIX, but for their calls of connect and accept; connects and accepts of io_uring as \
calls (their states are); what splice(2) takes out of a socket; the ends of UDP sockets; the ends of a TCP connection \
that was there before the session, before its state changes; on Linux before 6.11 drops in interrupts while other \
tasks run; whose the sockets are that were there before the session, where /proc/PID/fd cannot be read \
(CAP_SYS_PTRACE), until they are used; whose a connection is after lost \
events, until it is used or the kernel tells its ends. A connection to an untraced listener of the same address and port as a traced \
one (in another network namespace, or SO_REUSEPORT) is taken for the traced one's.

Example:
            curl-4711    [001]   123.000456: state: socket=1 family=AF_INET protocol=TCP local=10.0.0.2:40112 remote=10.0.0.1:80 old=SYN_SENT new=ESTABLISHED";

//! `trace_net`: the network activity of the traced tasks.

mod calls;
mod description;
mod drops;
mod endpoints;
mod existing;
mod packets;
mod renderer;
mod socket;
mod sockets;
mod states;
mod transfers;
mod wording;

use trace_hook_api::{Environment, Format, Hook, HookInfo, Param, Request, Result, Selection, Session};
use tracefs::Instance;
use tracefs_session::{JOINING, KERNEL_FUNCTIONS, TracefsSession};

use crate::tracepoint::{self, Tracepoint};
use renderer::NetRenderer;

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
        let info = HookInfo::new(
            "trace_net",
            "TCP connections of the traced tasks and their states, messages, retransmits, resets and drops",
        )
        .formats([Format::Text, Format::Json])
        .honours_view()
        .selects([Selection::Exact, Selection::Parents, Selection::Cgroups, Selection::All])
        .param(Param::flag(
            "without-calls",
            "no lines for connect and accept; saves every task of the machine about 0.1us per system call",
        ))
        .details(format!("{DETAILS}\n\n{KERNEL_FUNCTIONS}\n\n{JOINING}"))
        .example("--without-calls", "no lines for connect and accept");
        description::events().into_iter().fold(info, HookInfo::event)
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
                Ok(Box::new(NetRenderer::new(stream, procfs)?))
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
What happens to a socket in an interrupt is reported for the traced task that used the socket last, or that listens on it; the CPU \
is where it happened.

`socket`: a socket that is used for another connection gets another number. So does a connection after lost events, if it is used \
before a record has its endpoints: another connection may have taken its place. Of a protocol without connections, such as UDP, a new \
socket may have the number of one that was closed. The 32,768 sockets that were used last keep their numbers; one that was unused \
for longer may get a new one. A port of 0 is not known yet: the kernel reports the local port only after the first event of \
a connection, so a non-blocking `connect` (`EINPROGRESS`) may lack it.

state: states are `CLOSE`, `SYN_SENT`, `SYN_RECV`, `ESTABLISHED`, `FIN_WAIT1`, `FIN_WAIT2`, `CLOSE_WAIT`, `LAST_ACK`, `CLOSING`, \
`LISTEN`. TIME_WAIT is not seen: the connection has left its socket by then, which is reported as a change to `CLOSE`.

connect: the socket is reported if this call began a TCP connection. accept: the kernel does not report which connection was \
accepted; its states are reported when it arrives.

send, receive: includes messages that are only peeked at (`MSG_PEEK`).

drop: what a closed socket still has in its queue is not reported.

Not reported: other families, such as AF_UNIX, except for their calls of connect and accept; connects and accepts by io_uring as \
calls (their states are); what splice(2) takes out of a socket; the endpoints of UDP sockets; the endpoints of a TCP connection from before \
the session, before its state changes; on Linux before 6.11, drops in interrupts while other tasks run; sockets from before the \
session where /proc/PID/fd cannot be read (CAP_SYS_PTRACE), until they are used; a connection after lost events, until it is used \
or a record has its endpoints. A connection to an untraced listener with the same address and port as a traced one (in another network \
namespace, or with SO_REUSEPORT) is reported as one to the traced listener.

Example:
            curl-4711    [001]   123.000456: state: socket=1 family=AF_INET protocol=TCP local=10.0.0.2:40112 remote=10.0.0.1:80 old=SYN_SENT new=ESTABLISHED";

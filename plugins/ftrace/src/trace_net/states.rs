//! Changes of a socket's state.

use trace_hook_api::{LineBuffer, Result};
use trace_syscalls::{Constants, constant_name};
use tracefs::format::Field;
use tracefs_session::{EventStream, Record, with_origin};

use super::endpoints::EndpointFields;
use super::socket::{Socket, SocketKind};
use super::sockets::Change;
use crate::tracepoint::Tracepoint;

/// The states of a TCP socket (`include/net/tcp_states.h`), named as in RFC 9293 where it has them.
pub const TCP_STATES: Constants = &[
    (1, "ESTABLISHED"),
    (2, "SYN_SENT"),
    (3, "SYN_RECV"),
    (4, "FIN_WAIT1"),
    (5, "FIN_WAIT2"),
    (6, "TIME_WAIT"),
    (7, "CLOSE"),
    (8, "CLOSE_WAIT"),
    (9, "LAST_ACK"),
    (10, "LISTEN"),
    (11, "CLOSING"),
    (12, "NEW_SYN_RECV"),
];

pub const STATE: Tracepoint = Tracepoint::new("sock", "inet_sock_set_state");

/// The fields of [`STATE`].
pub struct State {
    pub id: u16,
    address: Field,
    protocol: Field,
    endpoints: EndpointFields,
    old: Field,
    new: Field,
}

impl State {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        let layout = STATE.layout(stream)?;
        Ok(Self {
            id: layout.id(),
            address: layout.field("skaddr")?,
            protocol: layout.field("protocol")?,
            endpoints: EndpointFields::new(&layout)?,
            old: layout.field("oldstate")?,
            new: layout.field("newstate")?,
        })
    }

    pub fn read(&self, record: &Record<'_>) -> Change {
        let number = |field| record.number(field) as u64;
        let kind = SocketKind { family: self.endpoints.family(record), protocol: number(&self.protocol) };
        Change {
            address: number(&self.address),
            kind,
            endpoints: self.endpoints.read(record),
            old: number(&self.old),
            new: number(&self.new),
        }
    }

    pub fn show(change: &Change, socket: &Socket, record: &mut Record<'_>, lines: &mut LineBuffer) {
        with_origin(record, socket.owner, |_, origin| {
            lines.add_event(origin, "state", |line| {
                socket
                    .show(line)
                    .word("old", &constant_name(change.old, TCP_STATES))
                    .word("new", &constant_name(change.new, TCP_STATES))
            });
        });
    }
}

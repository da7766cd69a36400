//! Changes of a socket's state.

use trace_hook_api::{LineBuffer, Result};
use tracefs::format::Field;
use tracefs::{EventStream, Record};
use tracefs_session::with_origin;

use super::ends::EndsFields;
use super::sockets::{Change, Kind, Socket};
use crate::names;
use crate::tracepoint::Tracepoint;

pub const STATE: Tracepoint = Tracepoint::new("sock", "inet_sock_set_state");

/// Where a record of [`STATE`] has what.
pub struct State {
    pub id: u16,
    address: Field,
    protocol: Field,
    ends: EndsFields,
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
            ends: EndsFields::new(&layout)?,
            old: layout.field("oldstate")?,
            new: layout.field("newstate")?,
        })
    }

    pub fn read(&self, record: &Record<'_>) -> Change {
        let number = |field| record.number(field) as u64;
        let kind = Kind { family: self.ends.family(record), protocol: number(&self.protocol) };
        Change {
            address: number(&self.address),
            kind,
            ends: self.ends.read(record),
            old: number(&self.old),
            new: number(&self.new),
        }
    }

    pub fn show(change: &Change, socket: &Socket, record: &mut Record<'_>, lines: &mut LineBuffer) {
        with_origin(record, socket.owner, |_, origin| {
            socket
                .show(lines.event(origin, "state"))
                .word("old", &names::one(change.old, names::TCP_STATES))
                .word("new", &names::one(change.new, names::TCP_STATES));
        });
    }
}

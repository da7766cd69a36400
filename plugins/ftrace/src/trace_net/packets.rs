//! Retransmitted segments, and resets.

use trace_hook_api::{LineBuffer, Result};
use trace_syscalls::constant_name;
use tracefs::format::Field;
use tracefs_session::{EventStream, Record, with_origin};

use super::endpoints::EndpointFields;
use super::socket::{Socket, SocketKind};
use super::sockets::Sockets;
use super::states::TCP_STATES;
use super::wording::Wording;
use crate::tracepoint::Tracepoint;

pub const RETRANSMIT: Tracepoint = Tracepoint::new("tcp", "tcp_retransmit_skb");
pub const SEND_RESET: Tracepoint = Tracepoint::new("tcp", "tcp_send_reset");
pub const RECEIVE_RESET: Tracepoint = Tracepoint::new("tcp", "tcp_receive_reset");

/// `IPPROTO_TCP` (ip(7)).
const TCP: u64 = 6;

/// The fields of a record about a packet of a socket.
pub struct Packet {
    pub id: u16,
    event: &'static str,
    address: Field,
    /// Not all kernels have them in all these records; the socket's own are the same.
    endpoints: Option<EndpointFields>,
    state: Option<Field>,
    has_reason: bool,
}

impl Packet {
    pub fn new(tracepoint: Tracepoint, event: &'static str, stream: &mut EventStream) -> Result<Self> {
        let layout = tracepoint.layout(stream)?;
        Ok(Self {
            id: layout.id(),
            event,
            address: layout.field("skaddr")?,
            endpoints: EndpointFields::new(&layout).ok(),
            state: layout.newer_field("state"),
            has_reason: layout.newer_field("reason").is_some(),
        })
    }

    /// The socket of a traced task that the packet belongs to.
    pub fn socket(&self, sockets: &mut Sockets, record: &Record<'_>) -> Option<Socket> {
        let address = record.number(&self.address) as u64;
        match &self.endpoints {
            Some(endpoints) => {
                let kind = SocketKind { family: endpoints.family(record), protocol: TCP };
                sockets.get_by_endpoints(address, kind, endpoints.read(record))
            }
            None => sockets.get(address),
        }
    }

    pub fn show(&self, socket: &Socket, record: &mut Record<'_>, lines: &mut LineBuffer) {
        let wording = self.has_reason.then(|| Wording::of(record));
        with_origin(record, socket.owner, |record, origin| {
            let state = self.state.as_ref().map(|state| record.number(state) as u64);
            let reason = wording.as_ref().and_then(|wording| wording.of_field("reason"));
            lines.add_event(origin, self.event, |line| {
                socket
                    .show(line)
                    .optional(state, |line, state| line.word("state", &constant_name(state, TCP_STATES)))
                    .optional(reason, |line, reason| line.word("reason", reason))
            });
        });
    }
}

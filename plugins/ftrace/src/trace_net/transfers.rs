//! Messages that are sent and received.

use trace_hook_api::{LineBuffer, Result};
use trace_syscalls::{MESSAGE_FLAGS, flag_names};
use tracefs::format::Field;
use tracefs_session::{EventStream, Record, with_origin};

use super::socket::{Socket, SocketKind};
use crate::call_result::show_result;
use crate::tracepoint::Tracepoint;

/// Since Linux 6.3.
pub const SEND: Tracepoint = Tracepoint::new("sock", "sock_send_length");
/// Since Linux 6.3.
pub const RECEIVE: Tracepoint = Tracepoint::new("sock", "sock_recv_length");

/// The families of the Internet protocols: `AF_INET` and `AF_INET6` (address_families(7)).
pub const OF_NETWORK: &str = "family == 2 || family == 10";

/// The fields of [`SEND`] or [`RECEIVE`].
pub struct Transfer {
    pub id: u16,
    event: &'static str,
    address: Field,
    family: Field,
    protocol: Field,
    result: Field,
    flags: Field,
}

impl Transfer {
    /// `None` if the kernel has no such event.
    pub fn new(
        tracepoint: Tracepoint,
        event: &'static str,
        stream: &mut EventStream,
    ) -> Result<Option<Self>> {
        let Ok(layout) = tracepoint.layout(stream) else { return Ok(None) };
        Ok(Some(Self {
            id: layout.id(),
            event,
            address: layout.field("sk")?,
            family: layout.field("family")?,
            protocol: layout.field("protocol")?,
            result: layout.field("ret")?,
            flags: layout.field("flags")?,
        }))
    }

    /// The socket's address in the kernel, and its kind.
    pub fn socket(&self, record: &Record<'_>) -> (u64, SocketKind) {
        let number = |field| record.number(field) as u64;
        let kind = SocketKind { family: number(&self.family), protocol: number(&self.protocol) };
        (number(&self.address), kind)
    }

    pub fn show(&self, socket: &Socket, record: &mut Record<'_>, lines: &mut LineBuffer) {
        with_origin(record, record.task(), |record, origin| {
            lines.add_event(origin, self.event, |line| {
                let line = match record.number(&self.result) {
                    size @ 0.. => socket.show(line).number("size", size),
                    error => show_result(socket.show(line), error, false),
                };
                match record.number(&self.flags) as u32 {
                    0 => line,
                    flags => line.word("flags", &flag_names(u64::from(flags), MESSAGE_FLAGS)),
                }
            });
        });
    }
}

//! Dropped packets.

use trace_hook_api::{LineBuffer, Result};
use tracefs::format::Field;
use tracefs::{Error, Instance};
use tracefs_session::{EventStream, Record, with_origin};

use super::sockets::Sockets;
use super::wording::Wording;
use crate::tracepoint::Tracepoint;

pub const DROP: Tracepoint = Tracepoint::new("skb", "kfree_skb");

/// `ETH_P_IP` and `ETH_P_IPV6` (`include/uapi/linux/if_ether.h`).
const OF_NETWORK: &str = "(protocol == 0x800 || protocol == 0x86dd)";

/// The reason for packets that are merely freed: they were still queued when their socket was closed.
const NO_DROP: &str = "QUEUE_PURGE";

/// The fields of [`DROP`].
pub struct PacketDrop {
    pub id: u16,
    /// The receiving socket; since Linux 6.11.
    receiver: Option<Field>,
}

/// Enables the drops without a socket.
pub fn enable_own(instance: &Instance) -> Result<()> {
    match DROP.enable_where(&format!("{OF_NETWORK} && rx_sk == 0"), instance) {
        // The kernel does not report the socket.
        Err(Error::BadFilter { .. }) => Ok(DROP.enable_where(OF_NETWORK, instance)?),
        enabled => Ok(enabled?),
    }
}

/// Enables the drops with a socket, whatever task runs.
pub fn enable_system_wide(instance: &Instance) -> Result<()> {
    match DROP.enable_where(&format!("{OF_NETWORK} && rx_sk != 0"), instance) {
        Err(Error::BadFilter { .. }) => Ok(()),
        enabled => Ok(enabled?),
    }
}

impl PacketDrop {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        let layout = DROP.layout(stream)?;
        Ok(Self { id: layout.id(), receiver: layout.newer_field("rx_sk") })
    }

    /// Adds a line if the drop concerns the traced tasks.
    pub fn show(&self, sockets: &Sockets, record: &mut Record<'_>, lines: &mut LineBuffer) {
        let receiver = self.receiver.as_ref().map_or(0, |field| record.number(field) as u64);
        let socket = sockets.get(receiver);
        let wording = Wording::of(record);
        let reason = wording.of_field("reason");
        if (receiver != 0 && socket.is_none()) || reason == Some(NO_DROP) {
            return;
        }
        let owner = socket.map_or(record.task(), |socket| socket.owner);
        with_origin(record, owner, |record, origin| {
            lines.add_event(origin, "drop", |line| {
                match &socket {
                    Some(socket) => socket.show(line),
                    None => line.flag("interrupt", record.in_interrupt()),
                }
                .optional(reason, |line, reason| line.word("reason", reason))
                .optional(wording.of_field("location"), |line, location| line.word("caller", location))
            });
        });
    }
}

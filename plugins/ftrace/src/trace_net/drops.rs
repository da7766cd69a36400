//! Packets that the kernel drops.

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

/// What is still queued when a socket is closed is dropped as well, if only to be freed.
const NO_DROP: &str = "QUEUE_PURGE";

/// Where a record of [`DROP`] has what.
pub struct Drop {
    pub id: u16,
    /// The socket that was to get the packet; since Linux 6.11.
    receiver: Option<Field>,
}

/// Has the drops recorded that are no socket's.
pub fn enable_own(instance: &Instance) -> Result<()> {
    match DROP.enable_where(&format!("{OF_NETWORK} && rx_sk == 0"), instance) {
        // It does not tell whose they are.
        Err(Error::BadFilter { .. }) => Ok(DROP.enable_where(OF_NETWORK, instance)?),
        enabled => Ok(enabled?),
    }
}

/// Has the drops recorded that are some socket's, whoever runs.
pub fn enable_system_wide(instance: &Instance) -> Result<()> {
    match DROP.enable_where(&format!("{OF_NETWORK} && rx_sk != 0"), instance) {
        Err(Error::BadFilter { .. }) => Ok(()),
        enabled => Ok(enabled?),
    }
}

impl Drop {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        let layout = DROP.layout(stream)?;
        Ok(Self { id: layout.id(), receiver: layout.newer_field("rx_sk") })
    }

    /// Shows it, if it is about the traced tasks; how many lines that makes.
    pub fn show(&self, sockets: &Sockets, record: &mut Record<'_>, lines: &mut LineBuffer) -> u64 {
        let receiver = self.receiver.as_ref().map_or(0, |field| record.number(field) as u64);
        let socket = sockets.get(receiver);
        let wording = Wording::of(record);
        let reason = wording.of_field("reason");
        if (receiver != 0 && socket.is_none()) || reason == Some(NO_DROP) {
            return 0;
        }
        let owner = socket.map_or(record.task(), |socket| socket.owner);
        with_origin(record, owner, |record, origin| {
            let line = lines.event(origin, "drop");
            let line = match &socket {
                Some(socket) => socket.show(line),
                None => line.flag("interrupt", record.in_interrupt()),
            };
            let line = match reason {
                Some(reason) => line.word("reason", reason),
                None => line,
            };
            match wording.of_field("location") {
                Some(location) => line.word("caller", location),
                None => line,
            };
        });
        1
    }
}

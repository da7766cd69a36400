//! The lines of `trace_net`.

use std::path::Path;

use trace_hook_api::{LineBuffer, Result};
use trace_tasks::Pid;
use tracefs::ring::Gap;
use tracefs_session::{EventStream, Record, Renderer};

use super::calls::Calls;
use super::drops::PacketDrop;
use super::existing::ExistingSockets;
use super::packets::{self, Packet};
use super::sockets::Sockets;
use super::states::State;
use super::transfers::{self, Transfer};

pub struct NetRenderer {
    sockets: Sockets,
    state: State,
    calls: Calls,
    transfers: Vec<Transfer>,
    packets: Vec<Packet>,
    packet_drop: PacketDrop,
}

impl NetRenderer {
    pub fn new(stream: &mut EventStream, procfs: &Path) -> Result<Self> {
        let transfers = [
            Transfer::new(transfers::SEND, "send", stream)?,
            Transfer::new(transfers::RECEIVE, "receive", stream)?,
        ];
        let packets = vec![
            Packet::new(packets::RETRANSMIT, "retransmit", stream)?,
            Packet::new(packets::SEND_RESET, "send_reset", stream)?,
            Packet::new(packets::RECEIVE_RESET, "receive_reset", stream)?,
        ];
        Ok(Self {
            state: State::new(stream)?,
            calls: Calls::new(stream),
            transfers: transfers.into_iter().flatten().collect(),
            packets,
            packet_drop: PacketDrop::new(stream)?,
            // Recording has begun: from here on, all changes are seen.
            sockets: Sockets::new(ExistingSockets::of(&stream.wanted_processes(), procfs)),
        })
    }

    fn state(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        let change = self.state.read(record);
        let by = current_task(record);
        let Some(socket) = self.sockets.changed(&change, by) else { return };
        if let Some(thread) = by.filter(|_| change.is_active_open()) {
            self.calls.connecting(thread, change.address);
        }
        State::show(&change, &socket, record, lines);
    }
}

impl Renderer for NetRenderer {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        let id = record.id();
        if id == self.state.id {
            self.state(record, lines);
        } else if id == self.packet_drop.id {
            self.packet_drop.show(&self.sockets, record, lines);
        } else if let Some(transfer) = self.transfers.iter().find(|transfer| transfer.id == id) {
            let (address, kind) = transfer.socket(record);
            let socket = self.sockets.used(address, kind, record.task());
            transfer.show(&socket, record, lines);
        } else if let Some(packet) = self.packets.iter().find(|packet| packet.id == id) {
            if let Some(socket) = packet.socket(&mut self.sockets, record) {
                packet.show(&socket, record, lines);
            }
        } else {
            self.calls.record(&self.sockets, record, lines);
        }
    }

    fn lost(&mut self, _gap: Gap) {
        self.calls.lost();
        self.sockets.lost();
    }
}

/// The traced task that caused a record; `None` for an interrupt or another task.
fn current_task(record: &mut Record<'_>) -> Option<Pid> {
    let task = record.task();
    (!record.in_interrupt() && record.is_traced(task)).then_some(task)
}

//! The sockets of the traced tasks.
//!
//! Much of what happens to a socket happens in interrupts, while any task runs. So a socket belongs to the traced task that
//! was seen to use it, and is recognised by its address in the kernel. When the kernel uses the address for another socket,
//! a record says so: each connection, and each listening socket, has a beginning.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::endpoints::{Endpoints, matches_listener};
use super::existing::ExistingSockets;
use super::socket::{Socket, SocketKind};
use trace_tasks::Pid;
use tracefs::RecentMap;

/// A change of a socket's state.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// The socket's address in the kernel.
    pub address: u64,
    pub kind: SocketKind,
    pub endpoints: Option<Endpoints>,
    pub old: u64,
    pub new: u64,
}

/// States of a socket: `TCP_SYN_SENT`, `TCP_SYN_RECV`, `TCP_CLOSE` and `TCP_LISTEN` (`include/net/tcp_states.h`).
const SYN_SENT: u64 = 2;
const SYN_RECV: u64 = 3;
const CLOSE: u64 = 7;
const LISTEN: u64 = 10;

/// Protocols whose sockets have records of their beginning: `IPPROTO_TCP`, `IPPROTO_DCCP`, `IPPROTO_SCTP` and
/// `IPPROTO_MPTCP` (`include/uapi/linux/in.h`).
const WITH_BEGINNINGS: [u64; 4] = [6, 33, 132, 262];

/// At least this many sockets are remembered. No record reports the end of a UDP socket, so those unused for longest are
/// forgotten.
pub const REMEMBERED: usize = 1 << 15;

/// The sockets of the traced tasks, as far as they are known.
#[derive(Debug)]
pub struct Sockets {
    /// By address in the kernel.
    known: RecentMap<u64, Known>,
    /// The listening addresses of sockets that began to listen during the session, by address in the kernel. Bounded by
    /// `known`.
    listeners: HashMap<u64, SocketAddr>,
    /// Sockets from before the session that were not seen in a record yet.
    existing: ExistingSockets,
    /// The number of sockets seen so far.
    seen: u64,
    /// How often records were lost.
    gaps: u64,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    socket: Socket,
    /// How many gaps there were when it was last known to be the socket at its address.
    gaps: u64,
}

impl Change {
    /// A listening socket has accepted a connection, which is a socket of its own.
    pub fn is_passive_open(&self) -> bool {
        (self.old, self.new) == (LISTEN, SYN_RECV)
    }

    /// A task begins to connect or to listen. This never happens in an interrupt.
    pub fn is_active_open(&self) -> bool {
        self.old == CLOSE
    }
}

impl Sockets {
    pub fn new(existing: ExistingSockets) -> Self {
        Self { known: RecentMap::new(REMEMBERED), listeners: HashMap::new(), existing, seen: 0, gaps: 0 }
    }

    /// Some records are missing: the beginning of another socket at an address may be among them.
    pub fn lost(&mut self) {
        self.gaps += 1;
    }

    /// The socket at this address, if it belongs to a traced task.
    pub fn get(&self, address: u64) -> Option<Socket> {
        let known = self.known.get(&address)?;
        self.is_current(known, address, None).then_some(known.socket)
    }

    /// The same for a record that has the endpoints of the socket: it may be the first about this socket, or know the local port
    /// that was chosen meanwhile.
    pub fn get_by_endpoints(
        &mut self,
        address: u64,
        kind: SocketKind,
        endpoints: Option<Endpoints>,
    ) -> Option<Socket> {
        self.refresh(address, endpoints);
        match self.known.get_mut(&address) {
            Some(Known { socket, .. }) => {
                socket.endpoints = endpoints.or(socket.endpoints);
                Some(*socket)
            }
            None => {
                let owner = self.existing.take(&endpoints?)?;
                Some(self.observe(address, owner, kind, endpoints))
            }
        }
    }

    /// A traced task uses a socket.
    pub fn used(&mut self, address: u64, kind: SocketKind, by: Pid) -> Socket {
        self.refresh(address, None);
        match self.known.get_mut(&address) {
            Some(Known { socket, .. }) if socket.kind == kind => {
                socket.owner = by;
                *socket
            }
            _ => self.observe(address, by, kind, None),
        }
    }

    /// A socket's state changes; `by` is the traced task that changes it, `None` for an interrupt or another task. Returns
    /// `None` if the socket does not belong to a traced task.
    pub fn changed(&mut self, change: &Change, by: Option<Pid>) -> Option<Socket> {
        let change = &Change { endpoints: self.without_stale_port(change), ..*change };
        let Change { address, kind, endpoints, .. } = *change;
        self.refresh(address, endpoints);
        let socket = if change.is_passive_open() || change.is_active_open() {
            self.forget(address);
            let owner = if change.is_active_open() { by } else { self.listener_at(endpoints?.local) };
            self.observe(address, owner?, kind, endpoints)
        } else if let Some(by) = by {
            self.used(address, kind, by)
        } else {
            self.get_by_endpoints(address, kind, endpoints)?
        };
        let socket = Socket { endpoints: endpoints.or(socket.endpoints), ..socket };
        if let Some(known) = self.known.get_mut(&address) {
            known.socket = socket;
        }
        self.note_listener(change);
        Some(socket)
    }

    /// The endpoints of a change. When a socket begins to connect, its port is chosen later: until then the kernel reports that of
    /// its last connection, which connect(2) with `AF_UNSPEC` has ended.
    fn without_stale_port(&self, change: &Change) -> Option<Endpoints> {
        let mut endpoints = change.endpoints?;
        let begins = (change.old, change.new) == (CLOSE, SYN_SENT);
        let last =
            self.known.get(&change.address).filter(|_| begins).and_then(|known| known.socket.endpoints);
        if last.is_some_and(|last| last.local.port() == endpoints.local.port()) {
            endpoints.local.set_port(0);
        }
        Some(endpoints)
    }

    fn note_listener(&mut self, change: &Change) {
        let Some(endpoints) = change.endpoints else { return };
        if change.new == LISTEN {
            self.listeners.insert(change.address, endpoints.local);
            if self.listeners.len() > self.known.len() {
                self.listeners.retain(|address, _| self.known.get(address).is_some());
            }
        } else if change.old == LISTEN && !change.is_passive_open() {
            self.listeners.remove(&change.address);
            self.existing.stopped_listening(endpoints.local);
        }
    }

    /// The owner of the socket that listens at this address.
    fn listener_at(&self, local: SocketAddr) -> Option<Pid> {
        let listener = self.listeners.iter().find(|(_, at)| matches_listener(**at, local));
        let owner = listener.and_then(|(address, _)| Some(self.known.get(address)?.socket.owner));
        owner.or_else(|| self.existing.listener_at(local))
    }

    /// Adds a socket that no record was about before.
    fn observe(
        &mut self,
        address: u64,
        owner: Pid,
        kind: SocketKind,
        endpoints: Option<Endpoints>,
    ) -> Socket {
        self.seen += 1;
        let socket = Socket { number: self.seen, owner, kind, endpoints };
        self.known.insert(address, Known { socket, gaps: self.gaps });
        socket
    }

    /// Whether this is still the socket at its address, given the endpoints in a record. After a gap there may be another one;
    /// only listening sockets are assumed to stay.
    fn is_current(&self, known: &Known, address: u64, endpoints: Option<Endpoints>) -> bool {
        known.gaps == self.gaps
            || !WITH_BEGINNINGS.contains(&known.socket.kind.protocol)
            || endpoints.map_or(self.listeners.contains_key(&address), |endpoints| {
                known.socket.endpoints == Some(endpoints)
            })
    }

    /// Forgets the socket at an address if it may have been replaced.
    fn refresh(&mut self, address: u64, endpoints: Option<Endpoints>) {
        let Some(known) = self.known.get(&address).filter(|known| known.gaps != self.gaps) else { return };
        if !self.is_current(known, address, endpoints) {
            self.forget(address);
        } else if let Some(known) = self.known.get_mut(&address) {
            known.gaps = self.gaps;
        }
    }

    fn forget(&mut self, address: u64) {
        self.known.remove(&address);
        self.listeners.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: SocketKind = SocketKind { family: 2, protocol: 6 };
    const ESTABLISHED: u64 = 1;
    const CLOSE_WAIT: u64 = 8;

    fn endpoints(local: &str, remote: &str) -> Option<Endpoints> {
        Some(Endpoints { local: local.parse().unwrap(), remote: remote.parse().unwrap() })
    }

    fn change(address: u64, old: u64, new: u64) -> Change {
        Change { address, kind: TCP, endpoints: endpoints("10.0.0.1:80", "10.0.0.2:999"), old, new }
    }

    fn sockets() -> Sockets {
        Sockets::new(ExistingSockets::default())
    }

    #[test]
    fn socket_belongs_to_the_task_that_opened_it() {
        let mut sockets = sockets();
        let opened = sockets.changed(&change(0xa, CLOSE, SYN_SENT), Some(7)).unwrap();
        let closed = sockets.changed(&change(0xa, ESTABLISHED, CLOSE_WAIT), None).unwrap();
        assert_eq!((opened.number, opened.owner), (closed.number, closed.owner));
        assert_eq!(sockets.changed(&change(0xb, ESTABLISHED, CLOSE_WAIT), None), None);
    }

    #[test]
    fn reused_address_is_another_socket() {
        let mut sockets = sockets();
        let first = sockets.changed(&change(0xa, CLOSE, SYN_SENT), Some(7)).unwrap();
        sockets.changed(&change(0xa, SYN_SENT, CLOSE), None).unwrap();
        assert_eq!(sockets.changed(&change(0xa, CLOSE, SYN_SENT), None), None, "opened by an untraced task");
        assert_eq!(sockets.get(0xa), None);
        let second = sockets.changed(&change(0xa, CLOSE, SYN_SENT), Some(7)).unwrap();
        assert_ne!(first.number, second.number);
    }

    #[test]
    fn port_of_the_last_connection_is_not_that_of_the_next() {
        let mut sockets = sockets();
        let local = |socket: Socket| socket.endpoints.unwrap().local.port();
        let begins = change(0xa, CLOSE, SYN_SENT);
        assert_eq!(local(sockets.changed(&begins, Some(7)).unwrap()), 80, "a port that bind(2) has set");
        sockets.changed(&change(0xa, SYN_SENT, ESTABLISHED), None);
        sockets.changed(&change(0xa, ESTABLISHED, CLOSE), Some(7));
        assert_eq!(local(sockets.changed(&begins, Some(7)).unwrap()), 0);
        assert_eq!(local(sockets.changed(&change(0xa, SYN_SENT, ESTABLISHED), None).unwrap()), 80);
    }

    #[test]
    fn connection_belongs_to_the_owner_of_its_listener() {
        let mut sockets = sockets();
        let listening =
            Change { endpoints: endpoints("0.0.0.0:80", "0.0.0.0:0"), ..change(0xa, CLOSE, LISTEN) };
        sockets.changed(&listening, Some(7)).unwrap();
        assert_eq!(sockets.changed(&change(0xb, LISTEN, SYN_RECV), None).unwrap().owner, 7);
        let elsewhere =
            Change { endpoints: endpoints("10.0.0.1:81", "10.0.0.2:999"), ..change(0xc, LISTEN, SYN_RECV) };
        assert_eq!(sockets.changed(&elsewhere, None), None);
        sockets.changed(&Change { old: LISTEN, new: CLOSE, ..listening }, Some(7)).unwrap();
        assert_eq!(sockets.changed(&change(0xd, LISTEN, SYN_RECV), None), None);
    }

    #[test]
    fn udp_socket_is_known_from_its_use() {
        let mut sockets = sockets();
        let udp = SocketKind { protocol: 17, ..TCP };
        let socket = sockets.used(0xa, udp, 7);
        assert_eq!(sockets.get(0xa), Some(socket));
        assert_ne!(sockets.used(0xa, TCP, 7).number, socket.number);
    }

    #[test]
    fn after_a_gap_ends_identify_a_socket() {
        let mut sockets = sockets();
        let opened = sockets.changed(&change(0xa, CLOSE, SYN_SENT), Some(7)).unwrap();
        sockets.lost();
        assert_eq!(sockets.get(0xa), None);
        let closed = sockets.changed(&change(0xa, ESTABLISHED, CLOSE_WAIT), None).unwrap();
        assert_eq!((opened.number, opened.owner), (closed.number, closed.owner));
        assert_eq!(sockets.get(0xa), Some(closed));
        sockets.lost();
        let others =
            Change { endpoints: endpoints("10.0.0.1:81", "10.0.0.2:999"), ..change(0xa, ESTABLISHED, CLOSE) };
        assert_eq!(sockets.changed(&others, None), None);
    }

    #[test]
    fn after_a_gap_use_without_ends_is_another_socket() {
        let mut sockets = sockets();
        let opened = sockets.changed(&change(0xa, CLOSE, SYN_SENT), Some(7)).unwrap();
        sockets.lost();
        let used = sockets.used(0xa, TCP, 7);
        assert_ne!(opened.number, used.number);
        assert_eq!(used.endpoints, None);
        // UDP has no beginnings that could be lost.
        let udp = sockets.used(0xb, SocketKind { protocol: 17, ..TCP }, 7);
        sockets.lost();
        assert_eq!(sockets.used(0xb, udp.kind, 7).number, udp.number);
    }

    #[test]
    fn after_a_gap_listeners_are_kept() {
        let mut sockets = sockets();
        let listening =
            Change { endpoints: endpoints("0.0.0.0:80", "0.0.0.0:0"), ..change(0xa, CLOSE, LISTEN) };
        let listener = sockets.changed(&listening, Some(7)).unwrap();
        sockets.lost();
        assert_eq!(sockets.get(0xa), Some(listener));
        assert_eq!(sockets.changed(&change(0xb, LISTEN, SYN_RECV), None).unwrap().owner, 7);
        assert_eq!(
            sockets.changed(&change(0xa, ESTABLISHED, CLOSE), None),
            None,
            "another socket has its address"
        );
        assert_eq!(sockets.changed(&change(0xc, LISTEN, SYN_RECV), None), None);
    }

    #[test]
    fn number_of_known_sockets_is_bounded() {
        let mut sockets = sockets();
        let udp = SocketKind { protocol: 17, ..TCP };
        for address in 0..10 * REMEMBERED as u64 {
            let listening = Change { new: LISTEN, ..change(address, CLOSE, LISTEN) };
            match address % 2 {
                0 => _ = sockets.changed(&listening, Some(7)),
                _ => _ = sockets.used(address, udp, 7),
            }
        }
        assert!(sockets.known.len() <= 2 * REMEMBERED);
        assert!(sockets.listeners.len() <= sockets.known.len());
    }

    #[test]
    fn forgotten_socket_gets_a_new_number() {
        let mut sockets = sockets();
        let udp = SocketKind { protocol: 17, ..TCP };
        let first = sockets.used(1, udp, 7);
        for address in 2..3 * REMEMBERED as u64 {
            sockets.used(address, udp, 7);
        }
        let again = sockets.used(1, udp, 7);
        assert_ne!(again.number, first.number);
        assert_eq!(sockets.used(1, udp, 7).number, again.number);
    }
}

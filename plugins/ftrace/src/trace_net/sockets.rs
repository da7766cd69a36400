//! Which sockets belong to the traced tasks.
//!
//! Much of what happens to a socket happens in interrupts, while any task runs. So a socket is theirs who were seen to use
//! it, and its address in the kernel tells it again. When that address becomes another socket's, a record says so: each
//! connection, and each listening, has a beginning.

use std::collections::HashMap;
use std::net::SocketAddr;

use trace_tasks::Pid;

use super::ends::Ends;
use super::existing::Existing;

/// A socket of a traced task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// They are numbered in the order in which they are met. One that begins anew has a new number.
    pub number: u64,
    /// The traced task that used it last.
    pub owner: Pid,
    pub kind: Kind,
    /// Where they are known.
    pub ends: Option<Ends>,
    is_over: bool,
    /// How many gaps there were until it was last known to be the one at its address.
    gaps: u64,
}

/// What a socket was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub family: u64,
    pub protocol: u64,
}

/// A change of a socket's state.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// The socket's address in the kernel.
    pub address: u64,
    pub kind: Kind,
    pub ends: Option<Ends>,
    pub old: u64,
    pub new: u64,
}

/// States of a socket: `TCP_SYN_RECV`, `TCP_CLOSE` and `TCP_LISTEN` (`include/net/tcp_states.h`).
const SYN_RECV: u64 = 3;
const CLOSE: u64 = 7;
const LISTEN: u64 = 10;

/// Protocols whose sockets tell of their beginnings: `IPPROTO_TCP`, `IPPROTO_DCCP`, `IPPROTO_SCTP` and `IPPROTO_MPTCP`
/// (`include/uapi/linux/in.h`).
const WITH_BEGINNINGS: [u64; 4] = [6, 33, 132, 262];

/// When there are so many, those that are over are forgotten.
const SMALLEST_PRUNED: usize = 4096;

/// The sockets of the traced tasks, as far as they are known.
#[derive(Debug)]
pub struct Sockets {
    /// By their addresses in the kernel.
    known: HashMap<u64, Socket>,
    /// Where those listen that were seen to begin to, by their addresses in the kernel.
    listeners: HashMap<u64, SocketAddr>,
    /// Those that were there before the session, and were not met yet.
    existing: Existing,
    met: u64,
    /// How often records were lost.
    gaps: u64,
    prune_at: usize,
}

impl Change {
    /// A listening socket has got a connection, which is a socket of its own.
    pub fn is_passive_open(&self) -> bool {
        (self.old, self.new) == (LISTEN, SYN_RECV)
    }

    /// A task begins to connect, or to listen. This happens in no interrupt.
    pub fn is_active_open(&self) -> bool {
        self.old == CLOSE
    }
}

impl Sockets {
    pub fn new(existing: Existing) -> Self {
        let (known, listeners) = (HashMap::new(), HashMap::new());
        Self { known, listeners, existing, met: 0, gaps: 0, prune_at: SMALLEST_PRUNED }
    }

    /// Some records are missing: the beginning of another socket at an address may be among them.
    pub fn lost(&mut self) {
        self.gaps += 1;
    }

    /// The socket at this address, if it belongs to a traced task.
    pub fn get(&self, address: u64) -> Option<Socket> {
        self.known.get(&address).filter(|socket| self.is_still(socket, address, None)).copied()
    }

    /// The same, where a record tells the ends of a socket: of one that may not have been met yet, or whose local port was
    /// chosen meanwhile.
    pub fn get_by_ends(&mut self, address: u64, kind: Kind, ends: Option<Ends>) -> Option<Socket> {
        self.look_again(address, ends);
        match self.known.get_mut(&address) {
            Some(socket) => {
                socket.ends = ends.or(socket.ends);
                Some(*socket)
            }
            None => {
                let owner = self.existing.take(&ends?)?;
                Some(self.meet(address, owner, kind, ends))
            }
        }
    }

    /// A traced task uses a socket.
    pub fn is_used(&mut self, address: u64, kind: Kind, by: Pid) -> Socket {
        self.look_again(address, None);
        match self.known.get_mut(&address) {
            Some(socket) if socket.kind == kind => {
                socket.owner = by;
                *socket
            }
            _ => self.meet(address, by, kind, None),
        }
    }

    /// A socket's state changes: by a traced task, or in an interrupt, or by another task. `None`: the socket is not one of
    /// the traced tasks.
    pub fn changes(&mut self, change: &Change, by: Option<Pid>) -> Option<Socket> {
        let Change { address, kind, ends, .. } = *change;
        self.look_again(address, ends);
        let socket = if change.is_passive_open() || change.is_active_open() {
            self.forget(address);
            let owner = if change.is_active_open() { by } else { self.listener_at(ends?.local) };
            self.meet(address, owner?, kind, ends)
        } else if let Some(by) = by {
            self.is_used(address, kind, by)
        } else {
            self.get_by_ends(address, kind, ends)?
        };
        let socket = Socket { ends: ends.or(socket.ends), is_over: change.new == CLOSE, ..socket };
        self.known.insert(address, socket);
        self.note_listener(change);
        Some(socket)
    }

    fn note_listener(&mut self, change: &Change) {
        let Some(ends) = change.ends else { return };
        if change.new == LISTEN {
            self.listeners.insert(change.address, ends.local);
        } else if change.old == LISTEN && !change.is_passive_open() {
            self.listeners.remove(&change.address);
            self.existing.stops_to_listen(ends.local);
        }
    }

    /// Who listens where a connection has come in.
    fn listener_at(&self, local: SocketAddr) -> Option<Pid> {
        let listener = self.listeners.iter().find(|(_, at)| hears(**at, local));
        let owner = listener.and_then(|(address, _)| Some(self.known.get(address)?.owner));
        owner.or_else(|| self.existing.listener_at(local))
    }

    fn meet(&mut self, address: u64, owner: Pid, kind: Kind, ends: Option<Ends>) -> Socket {
        self.prune();
        self.met += 1;
        let socket = Socket { number: self.met, owner, kind, ends, is_over: false, gaps: self.gaps };
        self.known.insert(address, socket);
        socket
    }

    /// Whether this socket is still the one at its address, by what a record tells of the ends. After a gap that may be
    /// another one; only those who listen are taken to stay where they are.
    fn is_still(&self, socket: &Socket, address: u64, ends: Option<Ends>) -> bool {
        let tells_beginnings = WITH_BEGINNINGS.contains(&socket.kind.protocol);
        socket.gaps == self.gaps
            || !tells_beginnings
            || ends.map_or(self.listeners.contains_key(&address), |ends| socket.ends == Some(ends))
    }

    /// Forgets what is not known any more to be at an address.
    fn look_again(&mut self, address: u64, ends: Option<Ends>) {
        let Some(socket) = self.known.get(&address).filter(|socket| socket.gaps != self.gaps) else { return };
        if self.is_still(socket, address, ends) {
            let still = Socket { gaps: self.gaps, ..*socket };
            self.known.insert(address, still);
        } else {
            self.forget(address);
        }
    }

    fn forget(&mut self, address: u64) {
        self.known.remove(&address);
        self.listeners.remove(&address);
    }

    fn prune(&mut self) {
        if self.known.len() >= self.prune_at {
            self.known.retain(|_, socket| !socket.is_over);
            self.prune_at = (self.known.len() * 2).max(SMALLEST_PRUNED);
        }
    }
}

/// Whether who listens at one address gets the connections to another.
pub fn hears(listener: SocketAddr, local: SocketAddr) -> bool {
    let any = match listener.ip() {
        // Of both families, or it would be known to be of IPv4.
        ip if ip.is_unspecified() => listener.is_ipv6() || local.is_ipv4(),
        ip => ip == local.ip(),
    };
    any && listener.port() == local.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: Kind = Kind { family: 2, protocol: 6 };
    const ESTABLISHED: u64 = 1;
    const SYN_SENT: u64 = 2;
    const CLOSE_WAIT: u64 = 8;

    fn ends(local: &str, remote: &str) -> Option<Ends> {
        Some(Ends { local: local.parse().unwrap(), remote: remote.parse().unwrap() })
    }

    fn change(address: u64, old: u64, new: u64) -> Change {
        Change { address, kind: TCP, ends: ends("10.0.0.1:80", "10.0.0.2:999"), old, new }
    }

    fn sockets() -> Sockets {
        Sockets::new(Existing::default())
    }

    #[test]
    fn what_a_traced_task_has_opened_is_its_own_whoever_runs() {
        let mut sockets = sockets();
        let opened = sockets.changes(&change(0xa, CLOSE, SYN_SENT), Some(7)).unwrap();
        let closed = sockets.changes(&change(0xa, ESTABLISHED, CLOSE_WAIT), None).unwrap();
        assert_eq!((opened.number, opened.owner), (closed.number, closed.owner));
        assert_eq!(sockets.changes(&change(0xb, ESTABLISHED, CLOSE_WAIT), None), None);
    }

    #[test]
    fn an_address_that_is_used_again_is_another_socket() {
        let mut sockets = sockets();
        let first = sockets.changes(&change(0xa, CLOSE, SYN_SENT), Some(7)).unwrap();
        sockets.changes(&change(0xa, SYN_SENT, CLOSE), None).unwrap();
        assert_eq!(sockets.changes(&change(0xa, CLOSE, SYN_SENT), None), None, "a stranger's");
        assert_eq!(sockets.get(0xa), None);
        let second = sockets.changes(&change(0xa, CLOSE, SYN_SENT), Some(7)).unwrap();
        assert_ne!(first.number, second.number);
    }

    #[test]
    fn a_connection_belongs_to_whom_its_listener_belongs_to() {
        let mut sockets = sockets();
        let listening = Change { ends: ends("0.0.0.0:80", "0.0.0.0:0"), ..change(0xa, CLOSE, LISTEN) };
        sockets.changes(&listening, Some(7)).unwrap();
        assert_eq!(sockets.changes(&change(0xb, LISTEN, SYN_RECV), None).unwrap().owner, 7);
        let elsewhere = Change { ends: ends("10.0.0.1:81", "10.0.0.2:999"), ..change(0xc, LISTEN, SYN_RECV) };
        assert_eq!(sockets.changes(&elsewhere, None), None);
        sockets.changes(&Change { old: LISTEN, new: CLOSE, ..listening }, Some(7)).unwrap();
        assert_eq!(sockets.changes(&change(0xd, LISTEN, SYN_RECV), None), None);
    }

    #[test]
    fn a_socket_without_states_is_known_by_its_use() {
        let mut sockets = sockets();
        let udp = Kind { protocol: 17, ..TCP };
        let socket = sockets.is_used(0xa, udp, 7);
        assert_eq!(sockets.get(0xa), Some(socket));
        assert_ne!(sockets.is_used(0xa, TCP, 7).number, socket.number);
    }

    #[test]
    fn after_a_gap_a_socket_is_known_by_its_ends() {
        let mut sockets = sockets();
        let opened = sockets.changes(&change(0xa, CLOSE, SYN_SENT), Some(7)).unwrap();
        sockets.lost();
        assert_eq!(sockets.get(0xa), None);
        let closed = sockets.changes(&change(0xa, ESTABLISHED, CLOSE_WAIT), None).unwrap();
        assert_eq!((opened.number, opened.owner), (closed.number, closed.owner));
        assert_eq!(sockets.get(0xa), Some(closed));
        sockets.lost();
        let others = Change { ends: ends("10.0.0.1:81", "10.0.0.2:999"), ..change(0xa, ESTABLISHED, CLOSE) };
        assert_eq!(sockets.changes(&others, None), None);
    }

    #[test]
    fn after_a_gap_the_use_of_an_address_is_that_of_another_socket() {
        let mut sockets = sockets();
        let opened = sockets.changes(&change(0xa, CLOSE, SYN_SENT), Some(7)).unwrap();
        sockets.lost();
        let used = sockets.is_used(0xa, TCP, 7);
        assert_ne!(opened.number, used.number);
        assert_eq!(used.ends, None);
        // Of UDP nothing tells of a beginning anyway.
        let udp = sockets.is_used(0xb, Kind { protocol: 17, ..TCP }, 7);
        sockets.lost();
        assert_eq!(sockets.is_used(0xb, udp.kind, 7).number, udp.number);
    }

    #[test]
    fn after_a_gap_a_listener_listens_still() {
        let mut sockets = sockets();
        let listening = Change { ends: ends("0.0.0.0:80", "0.0.0.0:0"), ..change(0xa, CLOSE, LISTEN) };
        let listener = sockets.changes(&listening, Some(7)).unwrap();
        sockets.lost();
        assert_eq!(sockets.get(0xa), Some(listener));
        assert_eq!(sockets.changes(&change(0xb, LISTEN, SYN_RECV), None).unwrap().owner, 7);
        assert_eq!(sockets.changes(&change(0xa, ESTABLISHED, CLOSE), None), None, "another is in its place");
        assert_eq!(sockets.changes(&change(0xc, LISTEN, SYN_RECV), None), None);
    }

    #[test]
    fn the_address_of_any_is_heard_by_both_families() {
        let hears = |listener: &str, local: &str| hears(listener.parse().unwrap(), local.parse().unwrap());
        assert!(hears("[::]:80", "1.2.3.4:80") && hears("[::]:80", "[fe80::1]:80"));
        assert!(hears("0.0.0.0:80", "1.2.3.4:80") && !hears("0.0.0.0:80", "[fe80::1]:80"));
        assert!(!hears("[::]:80", "1.2.3.4:81") && !hears("1.2.3.4:80", "1.2.3.5:80"));
    }
}

//! The TCP sockets that the traced processes have when a session begins, from procfs (proc_pid_net(5)).
//!
//! It has their endpoints, but not their addresses in the kernel.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::endpoints::{Endpoints, matches_listener};
use trace_tasks::Pid;

/// The state `TCP_LISTEN` in the tables.
const LISTEN: &str = "0A";

/// TCP sockets and their owners. Filled once, when the session begins; only shrinks after that.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ExistingSockets {
    listeners: Vec<(SocketAddr, Pid)>,
    connections: HashMap<Endpoints, Pid>,
}

/// A line of a table.
#[derive(Debug, PartialEq, Eq)]
struct Row<'a> {
    endpoints: Endpoints,
    listens: bool,
    inode: &'a str,
}

impl ExistingSockets {
    /// The sockets of these processes.
    pub fn of(processes: &BTreeSet<Pid>, procfs: &Path) -> Self {
        let mut existing = Self::default();
        // Processes in the same network namespace have the same tables.
        let mut by_namespace: HashMap<Option<PathBuf>, Vec<Pid>> = HashMap::new();
        for process in processes {
            let namespace = fs::read_link(procfs.join(format!("{process}/ns/net"))).ok();
            by_namespace.entry(namespace).or_default().push(*process);
        }
        for processes in by_namespace.into_values() {
            existing.add(&processes, procfs);
        }
        existing
    }

    fn add(&mut self, processes: &[Pid], procfs: &Path) {
        let owners: HashMap<String, Pid> =
            processes.iter().flat_map(|process| inodes(*process, procfs)).collect();
        let Some(process) = processes.first().filter(|_| !owners.is_empty()) else { return };
        for table in ["tcp", "tcp6"] {
            let table = fs::read_to_string(procfs.join(format!("{process}/net/{table}"))).unwrap_or_default();
            for row in table.lines().filter_map(Row::parse) {
                let Some(owner) = owners.get(row.inode) else { continue };
                if row.listens {
                    self.listeners.push((row.endpoints.local, *owner));
                } else {
                    self.connections.insert(row.endpoints, *owner);
                }
            }
        }
    }

    /// Removes a connection, and returns its owner.
    pub fn take(&mut self, endpoints: &Endpoints) -> Option<Pid> {
        self.connections.remove(endpoints)
    }

    /// The owner of the socket that listens at this address.
    pub fn listener_at(&self, local: SocketAddr) -> Option<Pid> {
        self.listeners.iter().find(|(at, _)| matches_listener(*at, local)).map(|(_, owner)| *owner)
    }

    /// The socket that listened at this address has stopped.
    pub fn stopped_listening(&mut self, at: SocketAddr) {
        self.listeners.retain(|(listening, _)| *listening != at);
    }
}

/// The inodes of the open sockets of a process.
fn inodes(process: Pid, procfs: &Path) -> HashMap<String, Pid> {
    let descriptors = fs::read_dir(procfs.join(format!("{process}/fd"))).into_iter().flatten();
    let links = descriptors.filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok());
    let inode = |link: PathBuf| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
    links.filter_map(inode).map(|inode| (inode, process)).collect()
}

impl<'a> Row<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut columns = line.split_ascii_whitespace();
        let (local, remote) = (columns.nth(1)?, columns.next()?);
        let listens = columns.next()? == LISTEN;
        let endpoints = Endpoints { local: socket_address(local)?, remote: socket_address(remote)? };
        Some(Self { endpoints, listens, inode: columns.nth(5)? })
    }
}

/// Parses an address: 32-bit words in hexadecimal, each in the byte order of this machine, such as `0100007F:0050`.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(words.as_flattened()).for_each(|(byte, of_word)| *byte = *of_word);
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn table_row_is_parsed() {
        let line = "   0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1";
        let row = Row::parse(line).unwrap();
        // On a big-endian machine it is another address.
        if cfg!(target_endian = "little") {
            assert_eq!(row.endpoints.local, "127.0.0.1:3306".parse().unwrap());
        }
        assert_eq!((row.listens, row.inode), (true, "4711"));
        assert_eq!(Row::parse("  sl  local_address rem_address   st tx_queue rx_queue tr"), None);
        assert_eq!(Row::parse(""), None);
    }

    #[test]
    fn own_listener_is_found() {
        let us = Pid::try_from(std::process::id()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let existing = ExistingSockets::of(&BTreeSet::from([us]), Path::new("/proc"));
        assert_eq!(existing.listener_at(at), Some(us));
    }
}

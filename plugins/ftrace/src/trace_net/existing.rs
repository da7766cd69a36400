//! The sockets that the traced processes have when a session begins, as procfs tells (proc_pid_net(5)).
//!
//! It tells their ends, not their addresses in the kernel.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use trace_tasks::Pid;

use super::ends::Ends;
use super::sockets::hears;

/// The state `TCP_LISTEN`, as the tables have it.
const LISTEN: &str = "0A";

/// TCP sockets, and whose they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Existing {
    listeners: Vec<(SocketAddr, Pid)>,
    connections: HashMap<Ends, Pid>,
}

/// A line of a table.
#[derive(Debug, PartialEq, Eq)]
struct Row<'a> {
    ends: Ends,
    listens: bool,
    inode: &'a str,
}

impl Existing {
    /// Those of these processes.
    pub fn of(processes: &BTreeSet<Pid>, procfs: &Path) -> Self {
        let mut existing = Self::default();
        // Processes in one network namespace have the same tables.
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
                    self.listeners.push((row.ends.local, *owner));
                } else {
                    self.connections.insert(row.ends, *owner);
                }
            }
        }
    }

    /// Who has this connection, which is asked for once.
    pub fn take(&mut self, ends: &Ends) -> Option<Pid> {
        self.connections.remove(ends)
    }

    /// Who listens where a connection has come in.
    pub fn listener_at(&self, local: SocketAddr) -> Option<Pid> {
        self.listeners.iter().find(|(at, _)| hears(*at, local)).map(|(_, owner)| *owner)
    }

    /// Nobody listens there any more.
    pub fn stops_to_listen(&mut self, at: SocketAddr) {
        self.listeners.retain(|(listens, _)| *listens != at);
    }
}

/// The numbers of the sockets that a process has open.
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
        let ends = Ends { local: socket_address(local)?, remote: socket_address(remote)? };
        Some(Self { ends, listens, inode: columns.nth(5)? })
    }
}

/// An address as the words in which the kernel holds it, in hex, each as a number of this machine: `0100007F:0050`.
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
    fn a_row_is_understood() {
        let line = "   0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1";
        let row = Row::parse(line).unwrap();
        // On a machine with the other order of bytes it would be another address.
        if cfg!(target_endian = "little") {
            assert_eq!(row.ends.local, "127.0.0.1:3306".parse().unwrap());
        }
        assert_eq!((row.listens, row.inode), (true, "4711"));
        assert_eq!(Row::parse("  sl  local_address rem_address   st tx_queue rx_queue tr"), None);
        assert_eq!(Row::parse(""), None);
    }

    #[test]
    fn our_own_sockets_are_found() {
        let us = Pid::try_from(std::process::id()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let existing = Existing::of(&BTreeSet::from([us]), Path::new("/proc"));
        assert_eq!(existing.listener_at(at), Some(us));
    }
}

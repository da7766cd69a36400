//! What a file descriptor is: `struct description` in `bpf/descriptors.h`, named as strace(1) and ss(8) do.

use std::net::{Ipv4Addr, Ipv6Addr};

use nix::libc;
use trace_ebpf::{Directory, RecordBytes, until_nul};
use trace_hook_api::Composite;
use trace_syscalls::{constant_name, file_type};

use super::super::record::Piece;
use super::bytes::{is_partial, set_bits};
use super::socket_address::unix_name;

// The bits of `ended` in bpf/descriptors.h, beside those of bpf/directory.h.
const PSEUDO: u16 = 8;
const IS_SOCKET: u16 = 16;

// linux/magic.h
const PIPEFS: u32 = 0x5049_5045;
const ANONYMOUS_INODES: u32 = 0x0904_1934;
const PIDFS: u32 = 0x5049_4446;

/// A description by the programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description<'a> {
    pub number: i32,
    mode: u16,
    ended: u16,
    device: u32,
    magic: u32,
    inode: u64,
    /// The components of the path; of a socket, `struct socket_description`.
    rest: &'a [u8],
}

/// A socket: `struct socket_description`.
struct Socket<'a> {
    peer: u64,
    family: i32,
    protocol: u16,
    local_port: u16,
    remote_port: u16,
    port_id: u32,
    local: [u8; 16],
    remote: [u8; 16],
    /// The kernel's name of the protocol: `TCP`, `UNIX-STREAM`.
    protocol_name: &'a [u8],
    /// Of a unix socket.
    path: &'a [u8],
}

/// A descriptor with what it is.
pub fn reference<'a>(piece: &Piece<'a>) -> Option<Composite<'a>> {
    let description = Description::of(piece.bytes)?;
    Some(reference_to(Composite::Number(description.number.into()), &description))
}

/// The descriptors of an `fd_set`, of which the first so many count.
pub fn set<'a>(piece: &Piece<'a>, count: usize, descriptions: &[Description<'_>]) -> Composite<'a> {
    let items = set_bits(piece, count).map(|bit| numbered(bit as i32, descriptions)).collect();
    Composite::List { items, is_cut: is_partial(piece) }
}

/// A descriptor with what it is, if that is known.
pub fn numbered<'a>(descriptor: i32, descriptions: &[Description<'_>]) -> Composite<'a> {
    let number = Composite::Number(descriptor.into());
    match descriptions.iter().find(|description| description.number == descriptor) {
        Some(description) => reference_to(number, description),
        None => number,
    }
}

/// A number, or a word that stands for it, with what it is.
pub fn reference_to<'a>(number: Composite<'a>, description: &Description<'_>) -> Composite<'a> {
    Composite::Reference { number: Box::new(number), is: Box::new(description.name()) }
}

impl<'a> Description<'a> {
    /// The description in these bytes; `None` if they are none.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = RecordBytes::new(bytes);
        Some(Self {
            number: bytes.i32()?,
            mode: bytes.u16()?,
            ended: bytes.u16()?,
            device: bytes.u32()?,
            magic: bytes.u32()?,
            inode: bytes.u64()?,
            rest: bytes.rest(),
        })
    }

    /// `/etc/passwd`, `pipe:[123]`, `TCP:[127.0.0.1:80->127.0.0.1:1234]`.
    pub fn name(&self) -> Composite<'static> {
        match (self.ended & IS_SOCKET != 0, Socket::of(self.rest)) {
            (false, _) if self.ended & PSEUDO != 0 => Composite::text(self.pseudo_name()),
            (false, _) => Composite::text(self.path()),
            (true, Some(socket)) => Composite::word(socket.name(self.inode)),
            (true, None) => Composite::word(format!("socket:[{}]", self.inode)),
        }
    }

    /// Of a device followed by its numbers.
    fn path(&self) -> Vec<u8> {
        let mut name = Directory::new(self.rest, self.ended.into()).path();
        let kind = match file_type(self.mode.into()) {
            Some("S_IFCHR") => "char",
            Some("S_IFBLK") => "block",
            _ => return name,
        };
        // As the kernel holds it (linux/kdev_t.h).
        let (major, minor) = (self.device >> 20, self.device & 0xf_ffff);
        name.extend_from_slice(format!(" ({kind} {major}:{minor})").as_bytes());
        name
    }

    /// The name of a file that is in no directory.
    fn pseudo_name(&self) -> Vec<u8> {
        let name = until_nul(self.rest);
        match self.magic {
            PIPEFS => format!("pipe:[{}]", self.inode).into_bytes(),
            // The programs have put the id of the process there.
            PIDFS if self.device != 0 => format!("pid:{}", self.device).into_bytes(),
            ANONYMOUS_INODES => [b"anon_inode:", name].concat(),
            _ if name.is_empty() => format!("inode:[{}]", self.inode).into_bytes(),
            // memfd_create(2)
            _ => [b"/", name, b" (deleted)"].concat(),
        }
    }
}

impl<'a> Socket<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = RecordBytes::new(bytes);
        let peer = bytes.u64()?;
        let (family, _type, protocol) = (bytes.u16()?, bytes.u16()?, bytes.u16()?);
        let (local_port, remote_port, _state) = (bytes.u16()?, bytes.u16()?, bytes.u16()?);
        let port_id = bytes.u32()?;
        let (local, remote) = (bytes.take(16)?.try_into().ok()?, bytes.take(16)?.try_into().ok()?);
        let protocol_name = bytes.text(16)?;
        Some(Self {
            peer,
            family: family.into(),
            protocol,
            local_port,
            remote_port: u16::from_be(remote_port),
            port_id,
            local,
            remote,
            protocol_name,
            path: bytes.rest(),
        })
    }

    fn name(&self, inode: u64) -> String {
        let protocol = String::from_utf8_lossy(self.protocol_name);
        match self.family {
            libc::AF_INET | libc::AF_INET6 if self.local_port != 0 => {
                let local = self.end(self.local, self.local_port);
                match self.remote_port {
                    0 => format!("{protocol}:[{local}]"),
                    port => format!("{protocol}:[{local}->{}]", self.end(self.remote, port)),
                }
            }
            libc::AF_UNIX => self.unix_name(&protocol, inode),
            libc::AF_NETLINK if self.port_id != 0 => {
                format!("NETLINK:[{}:{}]", netlink_name(self.protocol), self.port_id)
            }
            _ => format!("{protocol}:[{inode}]"),
        }
    }

    fn end(&self, address: [u8; 16], port: u16) -> String {
        match self.family {
            libc::AF_INET => {
                let [a, b, c, d, ..] = address;
                format!("{}:{port}", Ipv4Addr::new(a, b, c, d))
            }
            _ => format!("[{}]:{port}", Ipv6Addr::from(address)),
        }
    }

    fn unix_name(&self, protocol: &str, inode: u64) -> String {
        let peer = if self.peer == 0 { String::new() } else { format!("->{}", self.peer) };
        let path = match unix_name(self.path) {
            path if path.is_empty() => String::new(),
            // As strace does, so that the end of the description is clear.
            path => format!(",\"{}\"", String::from_utf8_lossy(&path).replace('>', "\\76")),
        };
        format!("{protocol}:[{inode}{peer}{path}]")
    }
}

/// The name of a netlink protocol, without `NETLINK_`.
fn netlink_name(protocol: u16) -> String {
    let name = constant_name(protocol.into(), trace_syscalls::NETLINK_PROTOCOLS);
    name.trim_start_matches("NETLINK_").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Those of bpf/directory.h.
    const REACHED_ROOT: u16 = 1;
    const DELETED: u16 = 4;

    fn description(mode: u32, ended: u16, magic: u32, rest: &[u8]) -> String {
        let description = Description {
            number: 3,
            mode: mode as u16,
            ended,
            device: 136 << 20 | 1,
            magic,
            inode: 77,
            rest,
        };
        match description.name() {
            Composite::Text { bytes, .. } => String::from_utf8(bytes.into_owned()).unwrap(),
            Composite::Word(word) => word.into_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_are_named_by_their_paths() {
        assert_eq!(description(libc::S_IFREG, REACHED_ROOT, 0, b"passwd\0etc\0"), "/etc/passwd");
        assert_eq!(description(libc::S_IFDIR, REACHED_ROOT, 0, b""), "/");
        assert_eq!(description(libc::S_IFREG, REACHED_ROOT | DELETED, 0, b"x\0"), "/x (deleted)");
        assert_eq!(description(libc::S_IFCHR, REACHED_ROOT, 0, b"1\0pts\0dev\0"), "/dev/pts/1 (char 136:1)");
        assert_eq!(description(libc::S_IFIFO, PSEUDO, PIPEFS, b"\0"), "pipe:[77]");
        assert_eq!(description(0, PSEUDO, PIDFS, b""), format!("pid:{}", 136 << 20 | 1));
        assert_eq!(description(0, PSEUDO, ANONYMOUS_INODES, b"[eventpoll]\0"), "anon_inode:[eventpoll]");
        assert_eq!(description(libc::S_IFREG, PSEUDO, 0x0102_1994, b"memfd:a\0"), "/memfd:a (deleted)");
    }

    fn socket(
        family: i32,
        ports: (u16, u16),
        addresses: [u8; 2],
        peer: u64,
        name: &str,
        path: &[u8],
    ) -> String {
        let mut bytes = peer.to_ne_bytes().to_vec();
        bytes.extend([family as u16, 1, 0, ports.0, ports.1.to_be(), 0].map(u16::to_ne_bytes).concat());
        bytes.extend(4711u32.to_ne_bytes());
        for last in addresses {
            let mut address = [0; 16];
            address[if family == libc::AF_INET { 3 } else { 15 }] = last;
            bytes.extend(address);
        }
        let mut protocol = [0; 16];
        protocol[..name.len()].copy_from_slice(name.as_bytes());
        bytes.extend(protocol);
        bytes.extend(path);
        description(libc::S_IFSOCK, IS_SOCKET, 0, &bytes)
    }

    #[test]
    fn sockets_are_named_by_their_ends() {
        let internet = |ports, name: &str| socket(libc::AF_INET, ports, [1, 2], 0, name, b"");
        assert_eq!(internet((0, 0), "TCP"), "TCP:[77]");
        assert_eq!(internet((80, 0), "TCP"), "TCP:[0.0.0.1:80]");
        assert_eq!(internet((80, 81), "UDP"), "UDP:[0.0.0.1:80->0.0.0.2:81]");
        assert_eq!(socket(libc::AF_INET6, (80, 81), [1, 1], 0, "TCPv6", b""), "TCPv6:[[::1]:80->[::1]:81]");
        assert_eq!(socket(libc::AF_UNIX, (0, 0), [0, 0], 78, "UNIX", b""), "UNIX:[77->78]");
        assert_eq!(
            socket(libc::AF_UNIX, (0, 0), [0, 0], 0, "UNIX-STREAM", b"/a\0"),
            "UNIX-STREAM:[77,\"/a\"]"
        );
        assert_eq!(socket(libc::AF_NETLINK, (0, 0), [0, 0], 0, "NETLINK", b""), "NETLINK:[ROUTE:4711]");
    }
}

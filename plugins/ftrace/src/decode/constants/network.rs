//! Sockets.

use crate::decode::meaning::Meaning;
use crate::names::{ADDRESS_FAMILIES, MESSAGE_FLAGS, Names, names};

/// What is left of a socket's type without its flags (`SOCK_TYPE_MASK` in include/linux/net.h).
const TYPE_MASK: u64 = 0xf;
const TYPE: Names = names![SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET SOCK_DCCP];
const FLAGS: Names = names![SOCK_CLOEXEC SOCK_NONBLOCK];
const SHUTDOWN: Names = names![SHUT_RD SHUT_WR SHUT_RDWR];
const LEVEL: Names = names![SOL_SOCKET SOL_IP SOL_IPV6 SOL_TCP SOL_UDP SOL_RAW SOL_PACKET SOL_NETLINK];

pub fn meaning(call: &str, parameter: &str) -> Option<Meaning> {
    Some(match (call, parameter) {
        ("socket" | "socketpair", "family") => Meaning::One(ADDRESS_FAMILIES),
        ("socket" | "socketpair", "type") => {
            Meaning::OneAndFlags { mask: TYPE_MASK, one: TYPE, flags: FLAGS }
        }
        ("accept4", "flags") => Meaning::Flags(FLAGS),
        ("sendto" | "sendmsg" | "sendmmsg" | "recvfrom" | "recvmsg" | "recvmmsg", "flags") => {
            Meaning::Flags(MESSAGE_FLAGS)
        }
        ("shutdown", "how") => Meaning::One(SHUTDOWN),
        ("setsockopt" | "getsockopt", "level") => Meaning::One(LEVEL),
        _ => return None,
    })
}

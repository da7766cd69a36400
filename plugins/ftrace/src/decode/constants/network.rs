//! Sockets.

use crate::decode::meaning::Meaning;
use crate::names::{Names, names};

const FAMILY: Names = names![
    AF_UNSPEC AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_BLUETOOTH AF_ALG AF_VSOCK AF_XDP AF_KEY AF_TIPC
];
/// What is left of a socket's type without its flags (`SOCK_TYPE_MASK` in include/linux/net.h).
const TYPE_MASK: u64 = 0xf;
const TYPE: Names = names![SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET SOCK_DCCP];
const FLAGS: Names = names![SOCK_CLOEXEC SOCK_NONBLOCK];
const MESSAGE: Names = names![
    MSG_OOB MSG_PEEK MSG_DONTROUTE MSG_CTRUNC MSG_TRUNC MSG_DONTWAIT MSG_EOR MSG_WAITALL MSG_CONFIRM MSG_ERRQUEUE
    MSG_NOSIGNAL MSG_MORE MSG_WAITFORONE MSG_FASTOPEN MSG_CMSG_CLOEXEC
];
const SHUTDOWN: Names = names![SHUT_RD SHUT_WR SHUT_RDWR];
const LEVEL: Names = names![SOL_SOCKET SOL_IP SOL_IPV6 SOL_TCP SOL_UDP SOL_RAW SOL_PACKET SOL_NETLINK];

pub fn meaning(call: &str, parameter: &str) -> Option<Meaning> {
    Some(match (call, parameter) {
        ("socket" | "socketpair", "family") => Meaning::One(FAMILY),
        ("socket" | "socketpair", "type") => {
            Meaning::OneAndFlags { mask: TYPE_MASK, one: TYPE, flags: FLAGS }
        }
        ("accept4", "flags") => Meaning::Flags(FLAGS),
        ("sendto" | "sendmsg" | "sendmmsg" | "recvfrom" | "recvmsg" | "recvmmsg", "flags") => {
            Meaning::Flags(MESSAGE)
        }
        ("shutdown", "how") => Meaning::One(SHUTDOWN),
        ("setsockopt" | "getsockopt", "level") => Meaning::One(LEVEL),
        _ => return None,
    })
}

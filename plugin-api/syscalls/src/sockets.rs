//! Constants of sockets.

use crate::constants::{Constants, constants};

/// Address families (address_families(7)).
pub const ADDRESS_FAMILIES: Constants = constants![
    AF_UNSPEC AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_BLUETOOTH AF_ALG AF_VSOCK AF_XDP AF_KEY AF_TIPC
];

/// The flags of send(2), recv(2) and the other calls that send or receive.
pub const MESSAGE_FLAGS: Constants = constants![
    MSG_OOB MSG_PEEK MSG_DONTROUTE MSG_CTRUNC MSG_TRUNC MSG_DONTWAIT MSG_EOR MSG_WAITALL MSG_CONFIRM MSG_ERRQUEUE
    MSG_NOSIGNAL MSG_MORE MSG_WAITFORONE MSG_FASTOPEN MSG_CMSG_CLOEXEC
];

/// The protocols of netlink(7).
pub const NETLINK_PROTOCOLS: Constants = constants![
    NETLINK_ROUTE NETLINK_SOCK_DIAG NETLINK_XFRM NETLINK_SELINUX NETLINK_AUDIT NETLINK_CONNECTOR NETLINK_NETFILTER
    NETLINK_KOBJECT_UEVENT NETLINK_GENERIC NETLINK_CRYPTO
];
/// Internet protocols, named as in /etc/protocols.
pub const PROTOCOLS: Constants = &[
    (1, "ICMP"),
    (6, "TCP"),
    (17, "UDP"),
    (33, "DCCP"),
    (58, "ICMPV6"),
    (132, "SCTP"),
    (136, "UDPLITE"),
    (255, "RAW"),
    (262, "MPTCP"),
];

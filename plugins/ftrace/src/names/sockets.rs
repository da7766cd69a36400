use super::{Names, names};

/// Families of addresses (address_families(7)).
pub const ADDRESS_FAMILIES: Names = names![
    AF_UNSPEC AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_BLUETOOTH AF_ALG AF_VSOCK AF_XDP AF_KEY AF_TIPC
];

/// Flags of send(2), recv(2) and their like.
pub const MESSAGE_FLAGS: Names = names![
    MSG_OOB MSG_PEEK MSG_DONTROUTE MSG_CTRUNC MSG_TRUNC MSG_DONTWAIT MSG_EOR MSG_WAITALL MSG_CONFIRM MSG_ERRQUEUE
    MSG_NOSIGNAL MSG_MORE MSG_WAITFORONE MSG_FASTOPEN MSG_CMSG_CLOEXEC
];

/// Protocols, as `/etc/protocols` has them, in capitals.
pub const PROTOCOLS: Names = &[
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

/// What a TCP socket does (`include/net/tcp_states.h`), by the names of RFC 9293 where it has them.
pub const TCP_STATES: Names = &[
    (1, "ESTABLISHED"),
    (2, "SYN_SENT"),
    (3, "SYN_RECV"),
    (4, "FIN_WAIT1"),
    (5, "FIN_WAIT2"),
    (6, "TIME_WAIT"),
    (7, "CLOSE"),
    (8, "CLOSE_WAIT"),
    (9, "LAST_ACK"),
    (10, "LISTEN"),
    (11, "CLOSING"),
    (12, "NEW_SYN_RECV"),
];

//! Sockets.

use nix::libc;

use crate::argument_type::ArgumentType;
use crate::constants::{Constants, constants};
use crate::sockets::{ADDRESS_FAMILIES, MESSAGE_FLAGS, NETLINK_PROTOCOLS};

/// The mask of the socket type without its flags (include/linux/net.h).
const SOCK_TYPE_MASK: u64 = 0xf;
const TYPE: Constants = constants![SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET SOCK_DCCP];
const FLAGS: Constants = constants![SOCK_CLOEXEC SOCK_NONBLOCK];
const SHUTDOWN: Constants = constants![SHUT_RD SHUT_WR SHUT_RDWR];
const LEVEL: Constants =
    constants![SOL_SOCKET SOL_IP SOL_IPV6 SOL_TCP SOL_UDP SOL_RAW SOL_PACKET SOL_NETLINK];
const SOCKET_OPTION: Constants = constants![
    SO_DEBUG SO_REUSEADDR SO_TYPE SO_ERROR SO_DONTROUTE SO_BROADCAST SO_SNDBUF SO_RCVBUF SO_SNDBUFFORCE SO_RCVBUFFORCE
    SO_KEEPALIVE SO_OOBINLINE SO_NO_CHECK SO_PRIORITY SO_LINGER SO_BSDCOMPAT SO_REUSEPORT SO_PASSCRED SO_PEERCRED
    SO_RCVLOWAT SO_SNDLOWAT SO_RCVTIMEO SO_SNDTIMEO SO_BINDTODEVICE SO_ATTACH_FILTER SO_DETACH_FILTER SO_PEERNAME
    SO_TIMESTAMP SO_ACCEPTCONN SO_PEERSEC SO_PASSSEC SO_TIMESTAMPNS SO_MARK SO_TIMESTAMPING SO_PROTOCOL SO_DOMAIN
    SO_RXQ_OVFL SO_PEEK_OFF SO_NOFCS SO_LOCK_FILTER SO_SELECT_ERR_QUEUE SO_BUSY_POLL SO_MAX_PACING_RATE
    SO_BPF_EXTENSIONS SO_INCOMING_CPU SO_ATTACH_BPF SO_ATTACH_REUSEPORT_CBPF SO_ATTACH_REUSEPORT_EBPF
    SO_INCOMING_NAPI_ID SO_COOKIE SO_PEERGROUPS SO_ZEROCOPY SO_TXTIME SO_BINDTOIFINDEX SO_PREFER_BUSY_POLL
];
const TCP_OPTION: Constants = constants![
    TCP_NODELAY TCP_MAXSEG TCP_CORK TCP_KEEPIDLE TCP_KEEPINTVL TCP_KEEPCNT TCP_SYNCNT TCP_LINGER2 TCP_DEFER_ACCEPT
    TCP_WINDOW_CLAMP TCP_INFO TCP_QUICKACK TCP_CONGESTION TCP_MD5SIG TCP_USER_TIMEOUT TCP_REPAIR TCP_FASTOPEN
    TCP_TIMESTAMP TCP_NOTSENT_LOWAT TCP_CC_INFO TCP_SAVE_SYN TCP_SAVED_SYN TCP_FASTOPEN_CONNECT TCP_ULP
    TCP_FASTOPEN_KEY TCP_ZEROCOPY_RECEIVE TCP_INQ
];
const IP_OPTION: Constants = constants![
    IP_TOS IP_TTL IP_HDRINCL IP_OPTIONS IP_RECVOPTS IP_PKTINFO IP_MTU_DISCOVER IP_RECVERR IP_RECVTTL IP_RECVTOS IP_MTU
    IP_FREEBIND IP_TRANSPARENT IP_RECVORIGDSTADDR IP_BIND_ADDRESS_NO_PORT IP_MULTICAST_IF IP_MULTICAST_TTL
    IP_MULTICAST_LOOP IP_ADD_MEMBERSHIP IP_DROP_MEMBERSHIP
];
const IPV6_OPTION: Constants = constants![
    IPV6_UNICAST_HOPS IPV6_MULTICAST_IF IPV6_MULTICAST_HOPS IPV6_MULTICAST_LOOP IPV6_ADD_MEMBERSHIP
    IPV6_DROP_MEMBERSHIP IPV6_MTU_DISCOVER IPV6_MTU IPV6_RECVERR IPV6_V6ONLY IPV6_RECVPKTINFO IPV6_RECVHOPLIMIT
    IPV6_RECVTCLASS IPV6_TCLASS IPV6_FREEBIND IPV6_TRANSPARENT
];
/// The names of the options depend on the level.
const OPTION: ArgumentType = ArgumentType::DependsOn {
    parameter: 1,
    types: &[
        (libc::SOL_SOCKET, ArgumentType::Constant(SOCKET_OPTION)),
        (libc::IPPROTO_TCP, ArgumentType::Constant(TCP_OPTION)),
        (libc::IPPROTO_IP, ArgumentType::Constant(IP_OPTION)),
        (libc::IPPROTO_IPV6, ArgumentType::Constant(IPV6_OPTION)),
    ],
    otherwise: &ArgumentType::Int,
};
const INTERNET_PROTOCOL: Constants = constants![
    IPPROTO_IP IPPROTO_ICMP IPPROTO_IGMP IPPROTO_TCP IPPROTO_UDP IPPROTO_DCCP IPPROTO_ICMPV6 IPPROTO_SCTP
    IPPROTO_UDPLITE IPPROTO_RAW IPPROTO_MPTCP
];
/// The names of the protocols depend on the address family.
const PROTOCOL: ArgumentType = ArgumentType::DependsOn {
    parameter: 0,
    types: &[
        (libc::AF_INET, ArgumentType::Constant(INTERNET_PROTOCOL)),
        (libc::AF_INET6, ArgumentType::Constant(INTERNET_PROTOCOL)),
        (libc::AF_NETLINK, ArgumentType::Constant(NETLINK_PROTOCOLS)),
    ],
    otherwise: &ArgumentType::Int,
};

pub fn argument_type(call: &str, parameter: &str) -> Option<ArgumentType> {
    Some(match (call, parameter) {
        ("socket" | "socketpair", "family") => ArgumentType::Constant(ADDRESS_FAMILIES),
        ("socket" | "socketpair", "type") => {
            ArgumentType::ConstantAndFlags { mask: SOCK_TYPE_MASK, constants: TYPE, flags: FLAGS }
        }
        ("socket" | "socketpair", "protocol") => PROTOCOL,
        ("accept4", "flags") => ArgumentType::Flags(FLAGS),
        ("sendto" | "sendmsg" | "sendmmsg" | "recvfrom" | "recvmsg" | "recvmmsg", "flags") => {
            ArgumentType::Flags(MESSAGE_FLAGS)
        }
        ("shutdown", "how") => ArgumentType::Constant(SHUTDOWN),
        ("setsockopt" | "getsockopt", "level") => ArgumentType::Constant(LEVEL),
        ("setsockopt" | "getsockopt", "optname") => OPTION,
        _ => return None,
    })
}

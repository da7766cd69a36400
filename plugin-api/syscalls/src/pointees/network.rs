//! Sockets.

use super::Content::{Bytes, Descriptors, Message, Numbers, SocketAddress};
use super::NumberKind::Signed;
use super::{Count, Pointee, all_given, all_written, given, written};

pub fn pointees(call: &str, parameter: &str, _: bool) -> Option<&'static [Pointee]> {
    Some(match (call, parameter) {
        ("connect" | "bind", "uservaddr" | "umyaddr") => {
            const { &[all_given(SocketAddress, Count::Argument(2))] }
        }
        ("accept" | "accept4" | "getsockname" | "getpeername", "upeer_sockaddr" | "usockaddr") => {
            const { &[all_written(SocketAddress, Count::At(2))] }
        }
        ("accept" | "accept4" | "getsockname" | "getpeername", "upeer_addrlen" | "usockaddr_len") => {
            const { &[given(Numbers(4, Signed)), written(Numbers(4, Signed))] }
        }
        ("sendto", "buff") | ("send", "buff") => const { &[all_given(Bytes, Count::Argument(2))] },
        ("sendto", "addr") => const { &[all_given(SocketAddress, Count::Argument(5))] },
        ("recvfrom" | "recv", "ubuf") => const { &[all_written(Bytes, Count::Result)] },
        ("recvfrom", "addr") => const { &[all_written(SocketAddress, Count::At(5))] },
        ("recvfrom", "addr_len") => const { &[given(Numbers(4, Signed)), written(Numbers(4, Signed))] },
        ("sendmsg", "msg") => const { &[given(Message)] },
        ("recvmsg", "msg") => const { &[written(Message)] },
        ("socketpair", "usockvec") => const { &[written(Descriptors)] },
        ("setsockopt", "optval") => const { &[all_given(Bytes, Count::Argument(4))] },
        ("getsockopt", "optval") => const { &[all_written(Bytes, Count::At(4))] },
        ("getsockopt", "optlen") => const { &[given(Numbers(4, Signed)), written(Numbers(4, Signed))] },
        _ => return None,
    })
}

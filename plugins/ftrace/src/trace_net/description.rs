//! The description of the lines.

use trace_hook_api::{EventInfo, FieldInfo};

/// Describes the events.
pub fn events() -> Vec<EventInfo> {
    let mut events = vec![state(), connect(), accept()];
    events.extend([
        message("send", "a message went into the socket, by any system call; Linux 6.3 and later"),
        message("receive", "a message came out of the socket, by any system call; Linux 6.3 and later"),
        packet("retransmit", "a TCP segment is sent again"),
        packet("send_reset", "the connection is reset by this side"),
        packet("receive_reset", "the connection is reset by the other side"),
        packet_drop(),
    ]);
    events
}

/// What [`Socket::show`](super::socket::Socket::show) writes.
fn socket() -> [FieldInfo; 5] {
    [
        FieldInfo::number("socket", "number of the socket, in the order in which sockets are first seen"),
        FieldInfo::word("family", "address family: AF_INET, AF_INET6"),
        FieldInfo::word("protocol", "protocol: TCP, UDP, ICMP, …"),
        FieldInfo::word("local", "local ADDRESS:PORT or [ADDRESS]:PORT, if known").optional(),
        FieldInfo::word("remote", "remote ADDRESS:PORT or [ADDRESS]:PORT, if known").optional(),
    ]
}

fn optional_socket() -> [FieldInfo; 5] {
    socket().map(FieldInfo::optional)
}

fn state() -> EventInfo {
    EventInfo::new("state", "a socket of TCP, MPTCP or SCTP changes its state")
        .fields(socket())
        .field(FieldInfo::word("old", "state before"))
        .field(FieldInfo::word("new", "state after"))
}

fn call(name: &str, meaning: &str, result: &str) -> EventInfo {
    EventInfo::new(name, meaning)
        .field(FieldInfo::number("fd", "descriptor that the call was given").optional())
        .field(
            FieldInfo::flag(
                "resumed",
                "the beginning of the call was not seen; there is no fd and no duration",
            )
            .optional(),
        )
        .fields(optional_socket())
        .field(FieldInfo::number("result", result))
        .field(FieldInfo::word("error", "name of the error, if the call failed").optional())
        .field(FieldInfo::duration("duration", "time from the beginning to the return").optional())
}

fn connect() -> EventInfo {
    call("connect", "connect(2) has returned", "0, or a negative error number")
}

fn accept() -> EventInfo {
    call(
        "accept",
        "accept(2) or accept4(2) has returned",
        "descriptor of the connection, or a negative error number",
    )
}

fn message(name: &str, meaning: &str) -> EventInfo {
    EventInfo::new(name, meaning)
        .fields(socket())
        .field(
            FieldInfo::number("size", "size of the message, if there was no error").unit("bytes").optional(),
        )
        .field(FieldInfo::number("result", "negative error number, if there was an error").optional())
        .field(FieldInfo::word("error", "name of the error").optional())
        .field(FieldInfo::word("flags", "flags of recv(2), such as MSG_PEEK").optional())
}

fn packet(name: &str, meaning: &str) -> EventInfo {
    EventInfo::new(name, meaning)
        .fields(socket())
        .field(FieldInfo::word("state", "state of the socket").optional())
        .field(FieldInfo::word("reason", "the kernel's reason; Linux 6.10 and later").optional())
}

fn packet_drop() -> EventInfo {
    EventInfo::new("drop", "a packet was dropped on its way to the socket, or no socket was found for it")
        .fields(optional_socket())
        .field(
            FieldInfo::flag(
                "interrupt",
                "without a socket: the packet arrived in an interrupt while the task ran, and may concern another task",
            )
            .optional(),
        )
        .field(FieldInfo::word("reason", "the kernel's reason; Linux 5.17 and later").optional())
        .field(FieldInfo::word("caller", "function that dropped it").optional())
}

//! A socket of a traced task.

use trace_hook_api::EventLine;
use trace_syscalls::{ADDRESS_FAMILIES, PROTOCOLS, constant_name};
use trace_tasks::Pid;

use super::endpoints::Endpoints;

/// A socket of a traced task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// Numbered in the order in which they are first seen. A socket that is used for another connection has a new number.
    pub number: u64,
    /// The traced task that used it last.
    pub owner: Pid,
    pub kind: SocketKind,
    /// `None` if they are not known.
    pub endpoints: Option<Endpoints>,
}

/// The arguments that a socket was created with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketKind {
    pub family: u64,
    pub protocol: u64,
}

impl Socket {
    /// Adds the fields that every line about a socket has.
    pub fn show<'a>(&self, line: EventLine<'a>) -> EventLine<'a> {
        line.number("socket", self.number)
            .word("family", &constant_name(self.kind.family, ADDRESS_FAMILIES))
            .word("protocol", &constant_name(self.kind.protocol, PROTOCOLS))
            .optional(self.endpoints, |line, endpoints| endpoints.show(line))
    }
}

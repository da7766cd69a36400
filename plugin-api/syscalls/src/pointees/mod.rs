//! What the arguments of system calls lead to: memory, and open files.

mod files;
mod ignored;
mod network;
mod processes;
mod time;

use crate::layouts::Layout;
use crate::prototypes::{Parameter, Prototype};

pub use ignored::is_ignored;

/// What is found at an address, or behind a descriptor, that a program passes as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointee {
    /// What it is.
    pub content: Content,
    /// When it is there.
    pub when: When,
    /// How many of it there are.
    pub count: Count,
}

/// What is at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// The path of a file, shown whole.
    Path,
    /// Text that a NUL ends.
    Text,
    /// Bytes.
    Bytes,
    /// An array of texts, which a null pointer ends.
    Texts,
    /// The same, of which only the number is shown.
    TextCount,
    /// A structure, or several.
    Structure(&'static Layout),
    /// Several structures, also if there is one.
    Structures(&'static Layout),
    /// `struct iovec`: buffers.
    Buffers,
    /// `struct msghdr`.
    Message,
    /// `struct sockaddr`.
    SocketAddress,
    /// Numbers of this many bytes, signed if the type is `Int` or `Long`.
    Numbers(u8, NumberKind),
    /// Descriptors, of 4 bytes each.
    Descriptors,
    /// `fd_set`; its count is the one of bits.
    DescriptorSet,
    /// A set of signals, of the size that the count has.
    Signals,
    /// A set of CPUs.
    Cpus,
    /// The status of a child (wait(2)).
    ChildStatus,
    /// The argument is itself a descriptor.
    Descriptor,
}

/// How a number is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberKind {
    /// With a sign.
    Signed,
    /// Without.
    Unsigned,
    /// In hexadecimal.
    Hexadecimal,
}

/// When something can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the call.
    Entry,
    /// After it, if it succeeded.
    Return,
    /// After it, whatever it returned.
    AnyReturn,
    /// After it, if a signal interrupted it.
    Interrupted,
}

/// How many units there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// One.
    One,
    /// This many.
    Fixed(u8),
    /// As many as this argument says.
    Argument(u8),
    /// As many as the call returns.
    Result,
    /// As many as the number of 32 bits says that this argument points to.
    At(u8),
}

/// One that is there before the call.
const fn given(content: Content) -> Pointee {
    Pointee { content, when: When::Entry, count: Count::One }
}

/// Several that are there before the call.
const fn all_given(content: Content, count: Count) -> Pointee {
    Pointee { content, when: When::Entry, count }
}

/// One that the call writes.
const fn written(content: Content) -> Pointee {
    Pointee { content, when: When::Return, count: Count::One }
}

/// Several that the call writes.
const fn all_written(content: Content, count: Count) -> Pointee {
    Pointee { content, when: When::Return, count }
}

/// What a parameter of a call leads to, in the order in which it is there. `is_compat`: in a 32-bit program.
pub fn pointees(prototype: &Prototype, parameter: &Parameter, call: &str, is_compat: bool) -> Vec<Pointee> {
    let name = parameter.name;
    let tables = [files::pointees, network::pointees, processes::pointees, time::pointees];
    // The name with the size of its times comes first.
    let by_call = |call: &str| tables.iter().find_map(|table| table(call, name, is_compat));
    if let Some(pointees) = by_call(call).or_else(|| by_call(prototype.base)) {
        return pointees.to_vec();
    }
    if is_descriptor(prototype.base, name, parameter.c_type) {
        return vec![given(Content::Descriptor)];
    }
    if is_path(name, parameter.c_type) {
        return vec![given(Content::Path)];
    }
    Vec::new()
}

/// Whether a parameter of a call leads to what [`pointees`] has for it, with these arguments. For others it is a plain number, or is
/// ignored.
pub fn applies(call: &str, parameter: &str, arguments: &[u64]) -> bool {
    let argument = |index: usize| arguments.get(index).map_or(0, |argument| *argument as i32);
    match (call, parameter) {
        ("fcntl" | "fcntl64", "arg") => [
            nix::libc::F_GETLK,
            nix::libc::F_SETLK,
            nix::libc::F_SETLKW,
            nix::libc::F_OFD_GETLK,
            nix::libc::F_OFD_SETLK,
            nix::libc::F_OFD_SETLKW,
        ]
        .contains(&argument(1)),
        ("prctl", "arg2") => [nix::libc::PR_SET_NAME, nix::libc::PR_GET_NAME].contains(&argument(0)),
        ("futex" | "futex_time64", "utime") => {
            // The operations that wait.
            const WAITS: [i32; 5] = [0, 6, 9, 11, 13];
            WAITS.contains(&(argument(1) & 0x7f))
        }
        ("clone", "parent_tidptr") => argument(0) & nix::libc::CLONE_PARENT_SETTID != 0,
        ("mmap" | "mmap2", "fd") => argument(3) & nix::libc::MAP_ANONYMOUS == 0,
        _ => true,
    }
}

/// Whether a call returns a descriptor, or may return one.
pub fn returns_descriptor(call: &str, arguments: &[u64]) -> bool {
    match call {
        "fcntl" | "fcntl64" => {
            let command = arguments.get(1).map(|command| *command as i32);
            command == Some(nix::libc::F_DUPFD) || command == Some(nix::libc::F_DUPFD_CLOEXEC)
        }
        _ => may_return_descriptor(call),
    }
}

/// Whether a call returns a descriptor, for some arguments at least.
pub fn may_return_descriptor(call: &str) -> bool {
    RETURN_DESCRIPTORS.binary_search(&call).is_ok()
}

const RETURN_DESCRIPTORS: &[&str] = &[
    "accept",
    "accept4",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "epoll_create",
    "epoll_create1",
    "eventfd",
    "eventfd2",
    "fanotify_init",
    "fcntl",
    "fcntl64",
    "fsmount",
    "fsopen",
    "fspick",
    "inotify_init",
    "inotify_init1",
    "io_uring_setup",
    "landlock_create_ruleset",
    "memfd_create",
    "memfd_secret",
    "mq_open",
    "open",
    "open_by_handle_at",
    "open_tree",
    "openat",
    "openat2",
    "perf_event_open",
    "pidfd_getfd",
    "pidfd_open",
    "signalfd",
    "signalfd4",
    "socket",
    "timerfd_create",
    "userfaultfd",
];

/// Whether a parameter is a file descriptor, by its name.
fn is_descriptor(call: &str, parameter: &str, c_type: &str) -> bool {
    let is_named = parameter.starts_with("fd")
        || parameter.ends_with("fd")
        || ["fildes", "mqdes", "in_fd", "out_fd"].contains(&parameter);
    // close_range takes a range of numbers, and pidfd_getfd a descriptor of another process.
    let is_other = matches!((call, parameter), ("close_range", _) | ("pidfd_getfd", "fd"));
    is_named && !is_other && !c_type.contains('*')
}

/// Whether a parameter is the path of a file, by its name and type.
fn is_path(parameter: &str, c_type: &str) -> bool {
    let is_text = c_type == "const char *" || c_type == "char *";
    let is_named = ["filename", "pathname", "path", "oldname", "newname", "new_root", "put_old", "library"];
    is_text && is_named.contains(&parameter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prototype;

    fn of(call: &str, parameter: &str) -> Vec<Content> {
        let prototype = prototype(call).unwrap();
        let parameter = prototype.parameters.iter().find(|known| known.name == parameter).unwrap();
        pointees(prototype, parameter, call, false).into_iter().map(|pointee| pointee.content).collect()
    }

    #[test]
    fn names_say_what_is_a_path_or_a_descriptor() {
        assert_eq!(of("openat", "filename"), [Content::Path]);
        assert_eq!(of("rename", "oldname"), [Content::Path]);
        assert_eq!(of("openat", "dfd"), [Content::Descriptor]);
        assert_eq!(of("dup3", "newfd"), [Content::Descriptor]);
        assert_eq!(of("pipe2", "fildes"), [Content::Descriptors]);
        assert_eq!(of("close_range", "fd"), []);
        assert_eq!(of("mmap", "addr"), []);
    }

    #[test]
    fn counts_are_those_of_parameters() {
        for call in ["read", "write", "poll", "connect", "getsockname", "readv", "epoll_wait", "getgroups"] {
            let prototype = prototype(call).unwrap();
            for parameter in &prototype.parameters {
                for pointee in pointees(prototype, parameter, call, false) {
                    let (Count::Argument(index) | Count::At(index)) = pointee.count else { continue };
                    assert!(usize::from(index) < prototype.parameters.len(), "{call} {}", parameter.name);
                }
            }
        }
    }

    #[test]
    fn list_is_sorted() {
        assert!(RETURN_DESCRIPTORS.is_sorted());
    }

    #[test]
    fn fcntl_returns_a_descriptor_for_some_commands() {
        let duplicates = |command: i32| returns_descriptor("fcntl", &[3, command as u64, 0]);
        assert!(duplicates(nix::libc::F_DUPFD) && !duplicates(nix::libc::F_GETFL));
    }
}

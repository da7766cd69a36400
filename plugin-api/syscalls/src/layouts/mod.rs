//! The structures that arguments point to, with the fields that strace(1) prints.

mod files;
mod processes;
mod time;

use crate::argument_type::ArgumentType;

pub use files::{
    EPOLL_EVENT, FILE_LOCK, FILE_SYSTEM, OPEN_HOW, POLL_DESCRIPTOR, POLL_RESULT, STAT, STAT_64, STATX,
};
pub use processes::{
    CAPABILITY_HEADER, CHILD_INFORMATION, CLONE_ARGUMENTS, COMPAT_RESOURCE_LIMIT, RESOURCE_LIMIT,
    RESOURCE_USAGE, SIGNAL_ACTION, SIGNAL_STACK, SYSTEM_INFORMATION, SYSTEM_NAME, TIMES,
};
pub use time::{
    COMPAT_INTERVALS, COMPAT_TIME_SPECIFICATION, COMPAT_TIME_VALUE, INTERVAL_VALUES, INTERVALS,
    TIME_SPECIFICATION, TIME_VALUE, TIME_ZONE,
};

/// The layout of a structure in the memory of a traced program.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// Its size, in bytes.
    pub size: u16,
    /// The fields that are shown.
    pub fields: &'static [Field],
    /// Whether it has other fields, too.
    pub has_more: bool,
}

impl Layout {
    /// The bytes from its beginning to the end of the last field that is shown.
    pub fn shown_size(&self) -> u16 {
        self.fields.iter().map(|field| field.offset + field.size).max().unwrap_or_default()
    }

    /// Whether its first field is a descriptor.
    pub fn begins_with_descriptor(&self) -> bool {
        self.fields.first().is_some_and(|field| field.offset == 0 && field.kind == FieldKind::Descriptor)
    }
}

/// A field of a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Where it begins, in bytes.
    pub offset: u16,
    /// Its size, in bytes.
    pub size: u16,
    /// What its bytes are.
    pub kind: FieldKind,
}

/// What the bytes of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldKind {
    /// A number, as an argument is. An unsigned one is extended by zeros.
    Number(ArgumentType),
    /// A number in hexadecimal.
    Hexadecimal,
    /// A file descriptor.
    Descriptor,
    /// Text that a NUL ends, if it is not as long as the field.
    Text,
    /// The type and the permissions of a file.
    FileMode,
    /// The number of a device; shown only if the field `FileMode` is that of a device.
    Device,
    /// A size; not shown if the field `FileMode` is that of a device.
    FileSize,
    /// A set of signals.
    Signals,
    /// A limit, or that there is none.
    Limit,
    /// Several numbers.
    Numbers(ArgumentType),
    /// A structure.
    Structure(&'static Layout),
    /// A number that is shown only if it is not 0.
    NonZero(ArgumentType),
}

/// A field that is a number.
const fn number(name: &'static str, offset: u16, size: u16, argument_type: ArgumentType) -> Field {
    Field { name, offset, size, kind: FieldKind::Number(argument_type) }
}

/// A field of another kind.
const fn field(name: &'static str, offset: u16, size: u16, kind: FieldKind) -> Field {
    Field { name, offset, size, kind }
}

/// A layout all of whose fields are shown.
const fn whole(size: u16, fields: &'static [Field]) -> Layout {
    Layout { size, fields, has_more: false }
}

/// A layout of which some fields are shown.
const fn partly(size: u16, fields: &'static [Field]) -> Layout {
    Layout { size, fields, has_more: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[&Layout] = &[
        &EPOLL_EVENT,
        &FILE_LOCK,
        &FILE_SYSTEM,
        &OPEN_HOW,
        &POLL_DESCRIPTOR,
        &POLL_RESULT,
        &STAT,
        &STAT_64,
        &STATX,
        &CAPABILITY_HEADER,
        &CLONE_ARGUMENTS,
        &COMPAT_RESOURCE_LIMIT,
        &RESOURCE_LIMIT,
        &RESOURCE_USAGE,
        &CHILD_INFORMATION,
        &SIGNAL_ACTION,
        &SIGNAL_STACK,
        &SYSTEM_INFORMATION,
        &SYSTEM_NAME,
        &TIMES,
        &COMPAT_INTERVALS,
        &COMPAT_TIME_SPECIFICATION,
        &COMPAT_TIME_VALUE,
        &INTERVAL_VALUES,
        &INTERVALS,
        &TIME_SPECIFICATION,
        &TIME_VALUE,
        &TIME_ZONE,
    ];

    #[test]
    fn fields_are_within_their_structures_and_do_not_overlap() {
        for layout in ALL {
            let ends: Vec<u16> = layout.fields.iter().map(|field| field.offset + field.size).collect();
            assert!(ends.iter().all(|end| *end <= layout.size), "{layout:?}");
            let mut by_place: Vec<&Field> = layout.fields.iter().collect();
            by_place.sort_by_key(|field| field.offset);
            let apart = |pair: &[&Field]| pair[0].offset + pair[0].size <= pair[1].offset;
            assert!(by_place.windows(2).all(apart), "{layout:?}");
        }
    }

    #[test]
    fn sizes_are_those_of_the_c_library() {
        use nix::libc;
        assert_eq!(usize::from(STAT.size), size_of::<libc::stat>());
        assert_eq!(usize::from(STATX.size), size_of::<libc::statx>());
        assert_eq!(usize::from(FILE_SYSTEM.size), size_of::<libc::statfs>());
        assert_eq!(usize::from(EPOLL_EVENT.size), size_of::<libc::epoll_event>());
        assert_eq!(usize::from(POLL_DESCRIPTOR.size), size_of::<libc::pollfd>());
        assert_eq!(usize::from(RESOURCE_USAGE.size), size_of::<libc::rusage>());
        assert_eq!(usize::from(SYSTEM_INFORMATION.size), size_of::<libc::sysinfo>());
        assert_eq!(usize::from(SYSTEM_NAME.size), size_of::<libc::utsname>());
        assert_eq!(usize::from(INTERVALS.size), size_of::<libc::itimerspec>());
        assert_eq!(usize::from(FILE_LOCK.size), size_of::<libc::flock>());
        assert_eq!(usize::from(SIGNAL_STACK.size), size_of::<libc::stack_t>());
        assert_eq!(usize::from(CLONE_ARGUMENTS.size), size_of::<libc::clone_args>());
    }
}

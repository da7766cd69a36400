//! System-call events, which the kernel prints without their print formats (`kernel/trace/trace_syscalls.c`).

use super::conversion::{Flags, Radix};
use super::expr::Place;
use super::field::read_number;
use super::open_flags::OpenFlags;
use super::parser::place_of;
use super::write;
use super::{EventFormat, Shape};

/// The printer of a system-call event.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Syscall {
    Enter {
        /// `sys_openat(`
        name: Box<[u8]>,
        arguments: Box<[Argument]>,
    },
    Exit {
        /// `sys_openat -> 0x`
        name: Box<[u8]>,
        value: usize,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Argument {
    /// The name, with the separator before it.
    before: Box<[u8]>,
    /// The offset of the value.
    offset: usize,
    notation: Notation,
    /// The data that it points to, which the kernel records since Linux 6.19.
    target: Option<Target>,
}

#[derive(Clone, Debug, PartialEq)]
enum Notation {
    Usual(Style),
    /// These are openat's only.
    Decimal,
    Octal,
    OpenFlags(OpenFlags),
}

#[derive(Clone, Debug, PartialEq)]
struct Target {
    place: Place,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Text,
    /// The size is the argument at this offset.
    Bytes {
        size: usize,
    },
}

/// The format of argument values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Hexadecimal without a prefix: up to Linux 6.17.
    Bare,
    /// Decimal below 10, otherwise hexadecimal with `0x`: since Linux 6.18.
    Prefixed,
}

const LONG: usize = size_of::<usize>();

impl Style {
    /// The style of a kernel, by the format of its event `sys_enter_openat`. Linux 6.18 is recognized by its `release` only
    /// (`/proc/sys/kernel/osrelease`).
    pub(super) fn of(openat: &str, release: &str) -> Self {
        if openat.contains("__filename_val") {
            return Self::Prefixed;
        }
        let mut numbers =
            release.split(|c: char| !c.is_ascii_digit()).map(|word| word.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version < (6, 18) && version != (0, 0) { Self::Bare } else { Self::Prefixed }
    }
}

impl Syscall {
    /// `None` if it is not a system-call event. With `types`, the types of arguments are printed (`options/verbose`).
    pub(super) fn new(format: &EventFormat, style: Style, types: bool) -> Option<Self> {
        format.field("__syscall_nr")?;
        if let Some(call) = format.name.strip_prefix("sys_exit_") {
            let value = format.field("ret")?.offset;
            return Some(Self::Exit { name: format!("sys_{call} -> 0x").into_bytes().into(), value });
        }
        let call = format.name.strip_prefix("sys_enter_")?;
        let mut arguments = arguments(format, style, types)?;
        if !types && let Some(flags) = OpenFlags::of(format) {
            print_as_openat(&mut arguments, &flags);
        }
        Some(Self::Enter { name: format!("sys_{call}(").into_bytes().into(), arguments })
    }

    #[inline]
    pub(super) fn write(&self, record: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Exit { name, value } => {
                out.extend_from_slice(name);
                write::hex(out, read_number(record, *value, LONG, false).unwrap_or(0));
            }
            Self::Enter { name, arguments } => {
                out.extend_from_slice(name);
                for argument in arguments {
                    argument.write(record, out);
                    if argument.is_last(record) {
                        break;
                    }
                }
                out.push(b')');
            }
        }
    }
}

fn arguments(format: &EventFormat, style: Style, types: bool) -> Option<Box<[Argument]>> {
    let mut arguments: Vec<Argument> = Vec::new();
    for field in format.own_fields().iter().filter(|field| field.name != "__syscall_nr") {
        if field.shape == Shape::Scalar {
            let separator = if arguments.is_empty() { "" } else { ", " };
            let kind = if types { format!("{} ", field.type_name) } else { String::new() };
            let before = format!("{separator}{kind}{}: ", field.name).into_bytes().into();
            let notation = Notation::Usual(style);
            arguments.push(Argument { before, offset: field.offset, notation, target: None });
            continue;
        }
        // `__NAME_val` has the data that the argument NAME points to.
        let name = field.name.strip_prefix("__")?.strip_suffix("_val")?;
        let ending = format!("{name}: ");
        let argument = arguments.iter_mut().find(|argument| {
            argument.before.strip_suffix(ending.as_bytes()).is_some_and(|rest| !rest.ends_with(b"_"))
        })?;
        let kind = if format.print_fmt.contains(&format!("__get_str({})", field.name)) {
            Kind::Text
        } else {
            // In each call that has such data, the size follows the pointer.
            Kind::Bytes { size: argument.offset + LONG }
        };
        argument.target = Some(Target { place: place_of(field)?, kind });
    }
    Some(arguments.into())
}

fn print_as_openat(arguments: &mut [Argument], flags: &OpenFlags) {
    for argument in arguments {
        argument.notation = match argument.before.strip_prefix(b", ") {
            Some(b"flags: ") => Notation::OpenFlags(flags.clone()),
            Some(b"mode: ") => Notation::Octal,
            _ => Notation::Decimal,
        };
    }
}

impl Argument {
    #[inline]
    fn write(&self, record: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before);
        self.notation.write(self.value(record), out);
        if let Some(target) = &self.target {
            target.write(record, out);
        }
    }

    #[inline]
    fn value(&self, record: &[u8]) -> u64 {
        read_number(record, self.offset, LONG, false).unwrap_or(0)
    }

    /// The mode is omitted where it has no meaning.
    #[inline]
    fn is_last(&self, record: &[u8]) -> bool {
        matches!(self.notation, Notation::OpenFlags(_)) && !OpenFlags::create(self.value(record))
    }
}

impl Notation {
    #[inline]
    fn write(&self, value: u64, out: &mut Vec<u8>) {
        match self {
            Self::Usual(Style::Prefixed) if value >= 10 => {
                out.extend_from_slice(b"0x");
                write::hex(out, value);
            }
            Self::Usual(Style::Prefixed) | Self::Decimal => write::decimal(out, value),
            Self::Usual(Style::Bare) => write::hex(out, value),
            Self::Octal => {
                out.push(b'0');
                let spec = write::Spec {
                    flags: Flags { zero: true, ..Flags::default() },
                    width: 3,
                    precision: None,
                };
                write::number(out, value & u64::from(u32::MAX), Radix::Octal, spec);
            }
            // As an `int`.
            Self::OpenFlags(flags) => flags.write(value as i32 as u64, out),
        }
    }
}

impl Target {
    fn write(&self, record: &[u8], out: &mut Vec<u8>) {
        let bytes = self.place.bytes(record).unwrap_or_default();
        match self.kind {
            Kind::Text => {
                out.extend_from_slice(b" \"");
                write::untrusted_text(out, write::until_nul(bytes));
                out.push(b'"');
            }
            Kind::Bytes { size } => {
                // Compared as an `int`.
                let size = read_number(record, size, LONG, false).unwrap_or(0) as i32;
                let is_cut = i32::try_from(bytes.len()).is_ok_and(|length| length < size);
                write_bytes(bytes, is_cut, out);
            }
        }
    }
}

/// Appends bytes, and their characters if any of them can be printed.
fn write_bytes(bytes: &[u8], is_cut: bool, out: &mut Vec<u8>) {
    let is_printable = |byte: &u8| matches!(byte, b' '..=b'~');
    out.extend_from_slice(b" (");
    super::pointer::hex_string(bytes, Some(b':'), out);
    out.extend_from_slice(if is_cut { b", ...)" } else { b")" });
    if bytes.iter().any(is_printable) {
        out.extend_from_slice(b" \"");
        out.extend(bytes.iter().map(|byte| if is_printable(byte) { *byte } else { b'.' }));
        out.extend_from_slice(if is_cut { b"\"..." } else { b"\"" });
    }
}

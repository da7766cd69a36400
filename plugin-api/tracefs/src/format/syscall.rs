//! System-call events, which the kernel prints without their print formats (`kernel/trace/trace_syscalls.c`).

use super::expr::Place;
use super::field::read_number;
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
        style: Style,
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
    /// The data that it points to, which the kernel records since Linux 6.19.
    target: Option<Target>,
}

#[derive(Clone, Debug, PartialEq)]
struct Target {
    place: Place,
    text: bool,
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
    /// The style of the kernel `release` (`/proc/sys/kernel/osrelease`).
    pub(super) fn of_release(release: &str) -> Self {
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
        let arguments = arguments(format, types)?;
        Some(Self::Enter { name: format!("sys_{call}(").into_bytes().into(), arguments, style })
    }

    #[inline]
    pub(super) fn write(&self, record: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Exit { name, value } => {
                out.extend_from_slice(name);
                write::hex(out, read_number(record, *value, LONG, false).unwrap_or(0));
            }
            Self::Enter { name, arguments, style } => {
                out.extend_from_slice(name);
                for argument in arguments {
                    argument.write(*style, record, out);
                }
                out.push(b')');
            }
        }
    }
}

fn arguments(format: &EventFormat, types: bool) -> Option<Box<[Argument]>> {
    let mut arguments: Vec<Argument> = Vec::new();
    for field in format.own_fields().iter().filter(|field| field.name != "__syscall_nr") {
        if field.shape == Shape::Scalar {
            let separator = if arguments.is_empty() { "" } else { ", " };
            let kind = if types { format!("{} ", field.type_name) } else { String::new() };
            let before = format!("{separator}{kind}{}: ", field.name).into_bytes().into();
            arguments.push(Argument { before, offset: field.offset, target: None });
            continue;
        }
        // `__NAME_val` has the data that the argument NAME points to.
        let name = field.name.strip_prefix("__")?.strip_suffix("_val")?;
        let ending = format!("{name}: ");
        let argument = arguments.iter_mut().find(|argument| {
            argument.before.strip_suffix(ending.as_bytes()).is_some_and(|rest| !rest.ends_with(b"_"))
        })?;
        let text = format.print_fmt.contains(&format!("__get_str({})", field.name));
        argument.target = Some(Target { place: place_of(field)?, text });
    }
    Some(arguments.into())
}

impl Argument {
    #[inline]
    fn write(&self, style: Style, record: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before);
        let value = read_number(record, self.offset, LONG, false).unwrap_or(0);
        match style {
            Style::Prefixed if value < 10 => write::decimal(out, value),
            Style::Prefixed => {
                out.extend_from_slice(b"0x");
                write::hex(out, value);
            }
            Style::Bare => write::hex(out, value),
        }
        if let Some(target) = &self.target {
            target.write(record, out);
        }
    }
}

impl Target {
    fn write(&self, record: &[u8], out: &mut Vec<u8>) {
        let bytes = self.place.bytes(record).unwrap_or_default();
        if self.text {
            out.extend_from_slice(b" \"");
            write::untrusted_text(out, write::until_nul(bytes));
            out.push(b'"');
        } else {
            out.extend_from_slice(b" (");
            super::pointer::hex_string(bytes, Some(b':'), out);
            out.push(b')');
        }
    }
}

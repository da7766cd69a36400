//! The entries of the system `ftrace`, which are not trace events. The kernel prints each with a separate function
//! (`kernel/trace/trace_output.c`).

use super::environment::Environment;
use super::field::read_number;
use super::options::Options;
use super::write;
use super::{EventFormat, bprint};

/// An entry type of the system `ftrace`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Builtin {
    /// `trace_marker`, and `trace_printk` with the text in the record.
    Print {
        ip: usize,
        text: usize,
    },
    /// `trace_printk` with a constant text.
    Puts {
        ip: usize,
        text: usize,
    },
    /// `trace_printk` with a format and binary arguments.
    Binary {
        ip: usize,
        format: usize,
        arguments: usize,
    },
    KernelStack {
        callers: usize,
    },
    UserStack {
        callers: usize,
    },
    /// `trace_marker_raw`.
    RawData {
        id: usize,
        data: usize,
    },
    Function {
        ip: usize,
        parent: usize,
    },
}

const LONG: usize = size_of::<usize>();

/// `FTRACE_TRAMPOLINE_MARKER`.
const TRAMPOLINE: u64 = i64::MAX as u64;
/// The end of a stack that is shorter than its record.
const STACK_END: u64 = u64::MAX >> (64 - 8 * LONG);

impl Builtin {
    pub(super) fn new(format: &EventFormat) -> Option<Self> {
        let at = |name: &str| format.field(name).map(|field| field.offset);
        Some(match format.name.as_str() {
            "print" => Self::Print { ip: at("ip")?, text: at("buf")? },
            "bputs" => Self::Puts { ip: at("ip")?, text: at("str")? },
            "bprint" => Self::Binary { ip: at("ip")?, format: at("fmt")?, arguments: at("buf")? },
            "kernel_stack" => Self::KernelStack { callers: at("caller")? },
            "user_stack" => Self::UserStack { callers: at("caller")? },
            "raw_data" => Self::RawData { id: at("id")?, data: at("buf")? },
            "function" => Self::Function { ip: at("ip")?, parent: at("parent_ip")? },
            _ => return None,
        })
    }

    /// Appends the text. It ends with a newline only if the entry's own text does.
    pub(super) fn write(
        &self,
        record: &[u8],
        options: &Options,
        environment: &Environment,
        out: &mut Vec<u8>,
    ) {
        let long = |offset: usize| read_number(record, offset, LONG, false).unwrap_or(0);
        match *self {
            Self::Print { ip, text } => {
                symbol(long(ip), options, environment, out);
                out.extend_from_slice(b": ");
                out.extend_from_slice(write::until_nul(record.get(text..).unwrap_or_default()));
            }
            Self::Puts { ip, text } => {
                symbol(long(ip), options, environment, out);
                out.extend_from_slice(b": ");
                environment.kernel_text(long(text), out);
            }
            Self::Binary { ip, format, arguments } => {
                symbol(long(ip), options, environment, out);
                out.extend_from_slice(b": ");
                let arguments = record.get(arguments..).unwrap_or_default();
                match environment.known_text(long(format)) {
                    Some(format) => bprint::write(format, arguments, environment, out),
                    None => environment.kernel_text(long(format), out),
                }
            }
            Self::KernelStack { callers } => {
                out.extend_from_slice(b"<stack trace>\n");
                for caller in longs(record, callers).take_while(|caller| *caller != STACK_END) {
                    out.extend_from_slice(b" => ");
                    if caller == TRAMPOLINE {
                        out.extend_from_slice(b"[FTRACE TRAMPOLINE]");
                    } else {
                        symbol(caller, options, environment, out);
                    }
                    out.push(b'\n');
                }
            }
            Self::UserStack { callers } => {
                out.extend_from_slice(b"<user stack trace>\n");
                for caller in longs(record, callers).take_while(|caller| *caller != 0) {
                    out.extend_from_slice(b" =>  <");
                    write::hex_padded(out, caller, 2 * LONG);
                    out.extend_from_slice(b">\n");
                }
            }
            Self::RawData { id, data } => {
                out.extend_from_slice(b"# ");
                write::hex(out, read_number(record, id, 4, false).unwrap_or(0));
                out.extend_from_slice(b" buf:");
                for byte in record.get(data..).unwrap_or_default() {
                    out.push(b' ');
                    write::hex_padded(out, u64::from(*byte), 2);
                }
            }
            Self::Function { ip, parent } => {
                symbol(long(ip), options, environment, out);
                if long(parent) != 0 {
                    out.extend_from_slice(b" <-");
                    symbol(long(parent), options, environment, out);
                }
            }
        }
    }
}

fn longs(record: &[u8], from: usize) -> impl Iterator<Item = u64> + '_ {
    (from..record.len()).step_by(LONG).map_while(|offset| read_number(record, offset, LONG, false))
}

/// `seq_print_ip_sym`.
fn symbol(address: u64, options: &Options, environment: &Environment, out: &mut Vec<u8>) {
    if address == 0 {
        return out.push(b'0');
    }
    if options.symbol_offset {
        environment.symbols().write(address, true, false, out);
    } else if let Some(name) = environment.symbols().bare(address) {
        out.extend_from_slice(name.as_bytes());
    } else {
        out.extend_from_slice(b"0x");
        write::hex_padded(out, address, 8);
    }
    if options.symbol_address {
        out.extend_from_slice(b" <");
        write::hex_padded(out, address, 2 * LONG);
        out.push(b'>');
    }
}

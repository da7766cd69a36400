//! How the kernel prints the values of probe events (`kernel/trace/trace_probe.c`).

use super::environment::Environment;
use super::expr::Expr;
use super::write;

/// The location of a probe.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProbePoint {
    /// The probed address; for a return probe, the return address.
    pub(super) at: Expr,
    /// The function that returned.
    pub(super) from: Option<Expr>,
}

impl ProbePoint {
    pub(super) fn write(&self, record: &[u8], environment: &Environment, out: &mut Vec<u8>) {
        address(self.at.number(record), true, environment, out);
        if let Some(from) = &self.from {
            out.extend_from_slice(b" <- ");
            address(from.number(record), false, environment, out);
        }
    }
}

/// User addresses are printed as numbers, kernel addresses (the upper half) as symbols.
fn address(value: u64, offset: bool, environment: &Environment, out: &mut Vec<u8>) {
    if (value as i64) < 0 {
        environment.symbols().write(value, offset, false, out);
    } else {
        out.extend_from_slice(b"0x");
        write::hex(out, value);
    }
}

/// Writes a string that a probe fetched from memory.
pub(super) fn fetched(text: &[u8], out: &mut Vec<u8>) {
    if text.is_empty() {
        return out.extend_from_slice(b"(fault)");
    }
    out.push(b'"');
    write::untrusted_text(out, write::until_nul(text));
    out.push(b'"');
}

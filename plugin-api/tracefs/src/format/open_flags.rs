//! The flags of openat(2), which the kernel prints by name since Linux 6.19 (`sys_enter_openat_print` in
//! `kernel/trace/trace_syscalls.c`).

use nix::fcntl::OFlag;

use super::EventFormat;
use super::btf::Btf;
use super::lexer::tokens;
use super::parser::Parser;
use super::text::{Names, Text, flags};

/// How the kernel prints flags.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OpenFlags {
    names: Names,
}

impl OpenFlags {
    /// With the names in the print format. `None` if it has none.
    pub(super) fn of(format: &EventFormat) -> Option<Self> {
        let start = format.print_fmt.find("__print_flags(")?;
        let tokens = tokens(format.print_fmt.get(start..)?).ok()?;
        let text = Parser::new(&tokens, format, &Btf::default()).expression().ok()?.text().ok()?;
        let Text::Flags { names, .. } = text else { return None };
        Some(Self { names: with_temporary(names) })
    }

    /// Whether the call has a mode.
    pub(super) fn create(bits: u64) -> bool {
        bits & value(OFlag::O_CREAT | OFlag::O_TMPFILE) != 0
    }

    /// Appends the names of these flags.
    pub(super) fn write(&self, bits: u64, out: &mut Vec<u8>) {
        if bits & value(OFlag::O_ACCMODE) == 0 {
            out.extend_from_slice(if bits == 0 { b"O_RDONLY" } else { b"O_RDONLY|" });
        }
        flags(bits, b"|", &self.names, out);
    }
}

/// The kernel's own table begins with `O_TMPFILE`, which its print format lacks.
fn with_temporary(names: Names) -> Names {
    let name: Box<[u8]> = Box::from(*b"O_TMPFILE");
    if names.iter().any(|(_, known)| *known == name) {
        return names;
    }
    std::iter::once((value(OFlag::O_TMPFILE), name)).chain(names).collect()
}

fn value(flags: OFlag) -> u64 {
    u64::from(flags.bits().cast_unsigned())
}

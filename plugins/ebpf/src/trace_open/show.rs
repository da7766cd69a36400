//! A call as a line.

use nix::libc;
use trace_hook_api::{EventLine, LineBuffer, Origin};
use trace_syscalls::{error_name, error_of, open_flags, resolve_flags, takes_mode};

use super::path;
use super::record::OpenRecord;

/// Adds the line of a call.
pub fn show(record: &OpenRecord<'_>, path: Option<&[u8]>, lines: &mut LineBuffer) {
    let origin = Origin::at(record.time).cpu(record.cpu).pid(record.pid).tid(record.tid).comm(record.comm);
    let mut line = lines.event(&origin, "open");
    line = show_name(record, path, line);
    line = line.word("call", record.kind.name());
    if let Some(flags) = record.flags {
        line = line.word("flags", &open_flags(flags));
        if takes_mode(flags) {
            line = line.word("mode", &format!("0{:03o}", record.mode));
        }
    }
    if record.resolve != 0 {
        line = line.word("resolve", &resolve_flags(record.resolve));
    }
    line = line.number("result", record.result);
    if let Some(error) = error_of(record.result) {
        line = line.word("error", &error_name(error));
    }
    if let Some(duration) = record.duration {
        line = line.duration("duration", duration);
    }
    line.flag("io_uring", record.kind.is_uring()).flag("compat", record.is_compat);
}

fn show_name<'a>(record: &OpenRecord<'_>, path: Option<&[u8]>, mut line: EventLine<'a>) -> EventLine<'a> {
    let (Some(path), Some(name)) = (path, record.name) else {
        return line.flag("unreadable", true);
    };
    line = line.text("path", path);
    if path::is_relative(record) {
        line = line.text("name", name);
        if record.dirfd != libc::AT_FDCWD {
            line = line.number("dirfd", record.dirfd);
        }
    }
    match record.is_name_cut {
        true => line.flag("cut", true),
        false => line,
    }
}

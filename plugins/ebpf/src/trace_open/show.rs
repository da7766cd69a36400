//! The line of a call.

use nix::libc;
use trace_hook_api::{EventLine, LineBuffer, Origin};
use trace_syscalls::{error_name, error_of, open_flags, resolve_flags, takes_mode};

use super::path;
use super::record::OpenRecord;

/// Adds the line of a call.
pub fn show(record: &OpenRecord<'_>, path: Option<&[u8]>, lines: &mut LineBuffer) {
    let origin = Origin::at(record.time).cpu(record.cpu).pid(record.pid).tid(record.tid).comm(record.comm);
    let mode = record.flags.filter(|flags| takes_mode(*flags)).map(|_| format!("0{:03o}", record.mode));
    let resolve = Some(record.resolve).filter(|resolve| *resolve != 0);
    lines.add_event(&origin, "open", |line| {
        show_name(record, path, line)
            .word("call", record.kind.name())
            .optional(record.flags, |line, flags| line.word("flags", &open_flags(flags)))
            .optional(mode.as_deref(), |line, mode| line.word("mode", mode))
            .optional(resolve, |line, resolve| line.word("resolve", &resolve_flags(resolve)))
            .number("result", record.result)
            .optional(error_of(record.result), |line, error| line.word("error", &error_name(error)))
            .optional(record.duration, |line, duration| line.duration("duration", duration))
            .flag("io_uring", record.kind.is_uring())
            .flag("compat", record.is_compat)
    });
}

fn show_name<'a>(record: &OpenRecord<'_>, path: Option<&[u8]>, line: EventLine<'a>) -> EventLine<'a> {
    let (Some(path), Some(name)) = (path, record.name) else {
        return line.flag("unreadable", true);
    };
    let name = path::is_relative(record).then_some(name);
    let dirfd = name.and(Some(record.dirfd)).filter(|dirfd| *dirfd != libc::AT_FDCWD);
    let cut = record.is_name_cut.then_some(true);
    line.text("path", path)
        .optional(name, |line, name| line.text("name", name))
        .optional(dirfd, |line, dirfd| line.number("dirfd", dirfd))
        .optional(cut, |line, cut| line.flag("cut", cut))
}

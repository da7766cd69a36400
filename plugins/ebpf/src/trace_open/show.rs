//! A call as a line.

use nix::errno::Errno;
use nix::libc;
use trace_hook_api::{EventLine, LineBuffer, Origin};

use super::record::OpenRecord;
use super::{flags, path};

/// The kernel's own errors, which no program sees: a call that a signal has broken off is begun again
/// (include/linux/errno.h).
const RESTARTS: [(i64, &str); 4] =
    [(512, "ERESTARTSYS"), (513, "ERESTARTNOINTR"), (514, "ERESTARTNOHAND"), (516, "ERESTART_RESTARTBLOCK")];

/// Adds the line of a call.
pub fn show(record: &OpenRecord<'_>, path: Option<&[u8]>, lines: &mut LineBuffer) {
    let origin = Origin {
        time: record.time,
        cpu: Some(record.cpu),
        pid: Some(record.pid),
        tid: Some(record.tid),
        comm: record.comm,
    };
    let mut line = lines.event(&origin, "open");
    line = show_name(record, path, line);
    line = line.word("call", record.kind.name()).word("flags", &flags::open(record.flags));
    if flags::use_mode(record.flags) {
        line = line.word("mode", &format!("0{:03o}", record.mode));
    }
    if record.resolve != 0 {
        line = line.word("resolve", &flags::resolve(record.resolve));
    }
    line = line.number("result", record.result);
    if record.result < 0 {
        line = line.word("error", &error_name(-record.result));
    }
    line.duration("duration", record.duration)
        .flag("io_uring", record.kind.is_uring())
        .flag("compat", record.is_compat);
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

fn error_name(errno: i64) -> String {
    match RESTARTS.iter().find(|(number, _)| *number == errno) {
        Some((_, name)) => (*name).to_owned(),
        None => match Errno::from_raw(errno as i32) {
            Errno::UnknownErrno => errno.to_string(),
            // Its name: ENOENT.
            known => format!("{known:?}"),
        },
    }
}

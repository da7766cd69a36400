//! The events, and their lines, whichever way they were recorded.

use nix::libc;
use trace_hook_api::{EventLine, LineBuffer, Origin};
use trace_syscalls::{
    CLONE_FLAGS, SIGNAL_ACTION_FLAGS, error_name, error_of, flag_names, signal_code, signal_name,
};
use trace_tasks::Pid;

/// The flag of a new thread, as opposed to a new process (clone(2)).
const CLONE_THREAD: u64 = libc::CLONE_THREAD as u64;

/// `SIG_DFL` and `SIG_IGN` (sigaction(2)), in place of the address of a handler.
const DEFAULT: u64 = 0;
const IGNORE: u64 = 1;

/// The results of sending a signal (`include/trace/events/signal.h`), by number.
const RESULTS: [&str; 5] = ["delivered", "ignored", "already_pending", "overflow_fail", "lose_info"];
/// The signal is pending now.
pub const DELIVERED: i64 = 0;

/// A task has started another one.
#[derive(Debug)]
pub struct Fork {
    pub child_tid: Pid,
    pub child_pid: Option<Pid>,
    pub ppid: Option<Pid>,
    pub flags: u64,
}

/// A task executes another program.
#[derive(Debug)]
pub struct Exec<'a> {
    pub path: &'a [u8],
    pub old_tid: Pid,
    /// What only the memory of the kernel has.
    pub program: Option<Program<'a>>,
}

/// What is known of a program that is executed.
#[derive(Debug)]
pub struct Program<'a> {
    pub ppid: Pid,
    pub argc: u32,
    /// `None` if the memory could not be read.
    pub arguments: Option<Arguments<'a>>,
    pub file: Option<Vec<u8>>,
    /// Set for a script.
    pub interpreter: Option<&'a [u8]>,
}

/// The arguments of a program.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a> {
    /// Each ends with a NUL.
    pub bytes: &'a [u8],
    /// They are longer.
    pub are_cut: bool,
}

/// A program could not be executed.
#[derive(Debug)]
pub struct FailedExec<'a> {
    /// `None` if it could not be read.
    pub path: Option<&'a [u8]>,
    pub is_cut: bool,
    pub dirfd: i32,
    pub ppid: Pid,
    pub result: i64,
}

/// A task has ended.
#[derive(Debug, Default)]
pub struct Exit {
    pub ending: Option<Ending>,
    pub core_dumped: bool,
    /// Another thread of the process executes a program.
    pub by_exec: bool,
    /// Its process has ended with it. `None` if that is not known.
    pub group_dead: Option<bool>,
    pub ppid: Option<Pid>,
    /// In nanoseconds, as the CPU time.
    pub lifetime: Option<u64>,
    pub cpu_time: Option<u64>,
}

/// How a task has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By exit(2), with this status.
    Status(u8),
    /// By a signal, which may not be known.
    Killed(Option<i32>),
}

/// A task has sent a signal.
#[derive(Debug)]
pub struct Generated<'a> {
    pub signal: i32,
    pub code: i32,
    pub to_tid: Pid,
    pub to_pid: Option<Pid>,
    pub to_comm: &'a [u8],
    pub result: i64,
    pub is_for_group: bool,
    pub in_interrupt: bool,
}

/// A signal was delivered to a task.
#[derive(Debug)]
pub struct Delivered<'a> {
    pub signal: i32,
    pub code: i32,
    pub handler: u64,
    pub flags: u64,
    pub sender: Option<(Pid, &'a [u8])>,
}

impl Fork {
    pub fn show(&self, origin: &Origin<'_>, lines: &mut LineBuffer) {
        let kind = if self.flags & CLONE_THREAD == 0 { "process" } else { "thread" };
        lines.add_event(origin, "fork", |line| {
            line.number("child_tid", self.child_tid)
                .word("kind", kind)
                .word("flags", &flag_names(self.flags, CLONE_FLAGS))
                .optional(self.child_pid, |line, pid| line.number("child_pid", pid))
                .optional(self.ppid, |line, pid| line.number("ppid", pid))
        });
    }
}

impl Exec<'_> {
    pub fn show(&self, origin: &Origin<'_>, lines: &mut LineBuffer) {
        lines.add_event(origin, "exec", |line| {
            line.text("path", self.path)
                .number("old_tid", self.old_tid)
                .optional(self.program.as_ref(), |line, program| program.show(line))
        });
    }
}

impl Program<'_> {
    fn show<'l>(&self, line: EventLine<'l>) -> EventLine<'l> {
        let line = line.number("ppid", self.ppid).number("argc", self.argc);
        let line = match self.arguments {
            Some(arguments) => line
                .texts("argv", arguments.texts(self.argc))
                .optional(arguments.are_cut.then_some(true), |line, cut| line.flag("argv_cut", cut)),
            None => line.flag("argv_unreadable", true),
        };
        line.optional(self.interpreter, |line, interpreter| line.text("interpreter", interpreter))
            .optional(self.file.as_ref(), |line, file| line.text("file", file))
    }
}

impl<'a> Arguments<'a> {
    /// The single arguments. A program may have changed where its last ones end, so they are counted.
    fn texts(self, argc: u32) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = self.bytes;
        (0..argc).map_while(move |_| {
            let text = rest.split(|byte| *byte == 0).next().filter(|_| !rest.is_empty())?;
            rest = rest.get(text.len() + 1..).unwrap_or_default();
            Some(text)
        })
    }
}

impl FailedExec<'_> {
    pub fn show(&self, origin: &Origin<'_>, lines: &mut LineBuffer) {
        let dirfd = Some(self.dirfd).filter(|dirfd| *dirfd != libc::AT_FDCWD);
        lines.add_event(origin, "exec_failed", |line| {
            match self.path {
                Some(path) => line.text("path", path),
                None => line.flag("unreadable", true),
            }
            .optional(self.is_cut.then_some(true), |line, cut| line.flag("cut", cut))
            .optional(dirfd, |line, dirfd| line.number("dirfd", dirfd))
            .number("ppid", self.ppid)
            .number("result", self.result)
            .optional(error_of(self.result), |line, error| line.word("error", &error_name(error)))
        });
    }
}

impl Exit {
    /// The ending that wait4(2) returns as this status.
    pub fn with_status(status: i32) -> Self {
        let ending = match libc::WIFSIGNALED(status) {
            true => Ending::Killed(Some(libc::WTERMSIG(status))),
            false => Ending::Status(libc::WEXITSTATUS(status) as u8),
        };
        Self { ending: Some(ending), core_dumped: libc::WCOREDUMP(status), ..Self::default() }
    }

    pub fn show(&self, origin: &Origin<'_>, lines: &mut LineBuffer) {
        lines.add_event(origin, "exit", |line| {
            match self.ending {
                Some(Ending::Status(status)) => line.number("status", status),
                Some(Ending::Killed(None)) => line.flag("killed", true),
                Some(Ending::Killed(Some(signal))) => {
                    line.flag("killed", true).word("signal", &signal_name(signal))
                }
                None => line,
            }
            .optional(self.core_dumped.then_some(true), |line, dumped| line.flag("core_dumped", dumped))
            .optional(self.by_exec.then_some(true), |line, by_exec| line.flag("by_exec", by_exec))
            .optional(self.group_dead, |line, group_dead| line.flag("group_dead", group_dead))
            .optional(self.ppid, |line, pid| line.number("ppid", pid))
            .optional(self.lifetime, |line, lifetime| line.duration("lifetime", lifetime))
            .optional(self.cpu_time, |line, cpu_time| line.duration("cpu_time", cpu_time))
        });
    }
}

impl Generated<'_> {
    pub fn show(&self, origin: &Origin<'_>, lines: &mut LineBuffer) {
        let name = usize::try_from(self.result).ok().and_then(|result| RESULTS.get(result));
        let outcome = name.map_or_else(|| self.result.to_string(), |name| (*name).to_owned());
        lines.add_event(origin, "signal_generate", |line| {
            line.word("signal", &signal_name(self.signal))
                .number("to_tid", self.to_tid)
                .text("to_comm", self.to_comm)
                .word("code", &signal_code(self.signal, self.code))
                .word("outcome", &outcome)
                .flag("group", self.is_for_group)
                .flag("interrupt", self.in_interrupt)
                .optional(self.to_pid, |line, pid| line.number("to_pid", pid))
        });
    }
}

impl Delivered<'_> {
    pub fn show(&self, origin: &Origin<'_>, lines: &mut LineBuffer) {
        lines.add_event(origin, "signal_deliver", |line| {
            let line = line
                .word("signal", &signal_name(self.signal))
                .word("code", &signal_code(self.signal, self.code));
            match self.handler {
                DEFAULT => line.word("action", "default"),
                IGNORE => line.word("action", "ignore"),
                handler => line
                    .word("action", "handler")
                    .address("handler", handler)
                    .word("flags", &flag_names(self.flags, SIGNAL_ACTION_FLAGS)),
            }
            .optional(self.sender, |line, (pid, comm)| {
                line.number("sender_pid", pid).text("sender_comm", comm)
            })
        });
    }
}

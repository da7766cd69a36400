//! The return of the `read` in which the process of a command waits for the start of the session.

use nix::libc::SYS_read;
use trace_tasks::Pid;
use tracefs::format::{Field, Formatter};

/// How many bytes the process reads.
const LENGTH: i64 = 1;

/// Recognizes that return, once. A command is traced from its execution on, which comes next.
#[derive(Debug)]
pub struct StartSignal {
    process: Pid,
    /// The event of the return from `read`, with its result.
    read: Option<(u16, Field)>,
    /// The event of the return from any system call, with its number and result.
    any: Option<(u16, Field, Field)>,
}

impl StartSignal {
    /// That of the process that will execute the command.
    pub fn load(process: Pid, formatter: &mut Formatter) -> Self {
        let mut load = |system, event, names: &[&str]| {
            let id = formatter.load(system, event).ok()?;
            let format = formatter.event(id)?;
            let fields: Option<Vec<Field>> = names.iter().map(|name| format.field(name).cloned()).collect();
            Some((id, fields?))
        };
        let read = load("syscalls", "sys_exit_read", &["ret"]);
        let any = load("raw_syscalls", "sys_exit", &["id", "ret"]);
        Self {
            process,
            read: read.and_then(|(id, fields)| Some((id, fields.into_iter().next()?))),
            any: any.and_then(|(id, fields)| {
                let [number, result] = <[Field; 2]>::try_from(fields).ok()?;
                Some((id, number, result))
            }),
        }
    }

    /// Whether this is a record of it.
    pub fn is_in(&self, task: Pid, id: u16, record: &[u8]) -> bool {
        let is_read = |(event, result): &(u16, Field)| *event == id && result.number(record) == Some(LENGTH);
        let is_any = |(event, number, result): &(u16, Field, Field)| {
            *event == id && number.number(record) == Some(SYS_read) && result.number(record) == Some(LENGTH)
        };
        task == self.process
            && (self.read.as_ref().is_some_and(is_read) || self.any.as_ref().is_some_and(is_any))
    }
}

//! The records of the programs: the structures in `bpf/process.bpf.c`.

use trace_ebpf::{Directory, RecordBytes, until_nul};
use trace_hook_api::Origin;
use trace_tasks::Pid;

use crate::trace_process::events::Ending;
use crate::trace_process::events::{Arguments, Exec, Exit, FailedExec, Fork, Generated, Program};

// The kinds in the order of `enum kind`.
const FORK: u32 = 0;
const EXEC: u32 = 1;
const EXEC_FAILED: u32 = 2;
const EXIT: u32 = 3;
const SIGNAL_GENERATE: u32 = 4;
const SIGNAL_DELIVER: u32 = 5;

// The bits of `known` of an exec, besides those of a file.
const HAS_FILE: u32 = 8;
const ARGUMENTS_UNREAD: u32 = 16;
const ARGUMENTS_CUT: u32 = 32;
const PATH_UNREAD: u32 = 64;
const PATH_CUT: u32 = 128;

// The bits of `how` of an exit.
const GROUP_DEAD: u32 = 1;
const BY_EXEC: u32 = 2;

// The bits of `how` of a sent signal.
const GROUP: u32 = 1;
const INTERRUPT: u32 = 2;

/// The length of the name of a task, with its NUL.
const COMM: u32 = 16;

/// A record.
#[derive(Debug)]
pub struct Record<'a> {
    pub origin: Origin<'a>,
    pub tid: Pid,
    pub pid: Pid,
    pub event: Event<'a>,
}

/// What a record reports.
#[derive(Debug)]
pub enum Event<'a> {
    Fork(Fork),
    Exec(Exec<'a>),
    FailedExec(FailedExec<'a>),
    Exit(Exit),
    Generated(Generated<'a>),
    Delivered(DeliveredSignal),
}

/// A delivered signal, without its sender.
#[derive(Debug, Clone, Copy)]
pub struct DeliveredSignal {
    pub signal: i32,
    pub code: i32,
    pub handler: u64,
    pub flags: u64,
}

/// The CPU of the record in these bytes, and the number of records that were lost there before it.
pub fn lost_before(bytes: &[u8]) -> Option<(u32, u64)> {
    let mut rest = RecordBytes::new(bytes);
    let (_time, lost) = (rest.u64()?, rest.u64()?);
    Some((rest.u32()?, lost))
}

impl<'a> Record<'a> {
    /// Parses a record. `None` if the bytes are not a record.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = RecordBytes::new(bytes);
        let (time, _lost) = (rest.u64()?, rest.u64()?);
        let (cpu, pid, tid, kind) = (rest.u32()?, rest.u32()?, rest.u32()?, rest.u32()?);
        let comm = rest.text(COMM)?;
        let event = match kind {
            FORK => Event::Fork(fork(rest)?),
            EXEC => Event::Exec(exec(rest)?),
            EXEC_FAILED => Event::FailedExec(failed_exec(rest)?),
            EXIT => Event::Exit(exit(rest)?),
            SIGNAL_GENERATE => Event::Generated(generated(rest)?),
            SIGNAL_DELIVER => Event::Delivered(delivered(rest)?),
            _ => return None,
        };
        Some(Self { origin: Origin::at(time).cpu(cpu).pid(pid).tid(tid).comm(comm), tid, pid, event })
    }
}

fn fork(mut rest: RecordBytes<'_>) -> Option<Fork> {
    let flags = rest.u64()?;
    Some(Fork { flags, child_tid: rest.u32()?, child_pid: rest.u32(), ppid: rest.u32() })
}

/// The fields of `struct exec_record`, and the texts after it.
struct ExecRecord<'a> {
    result: i64,
    old_tid: Pid,
    ppid: Pid,
    argc: u32,
    dirfd: i32,
    known: u32,
    path: &'a [u8],
    interpreter: &'a [u8],
    arguments: &'a [u8],
    file: &'a [u8],
}

impl<'a> ExecRecord<'a> {
    fn of(mut rest: RecordBytes<'a>) -> Option<Self> {
        let result = rest.u64()?.cast_signed();
        let (old_tid, ppid, argc) = (rest.u32()?, rest.u32()?, rest.u32()?);
        let (dirfd, known) = (rest.i32()?, rest.u32()?);
        let (file, path, interpreter) = (rest.u32()?, rest.u32()?, rest.u32()?);
        let (arguments, _unused) = (rest.u32()?, rest.u32()?);
        Some(Self {
            result,
            old_tid,
            ppid,
            argc,
            dirfd,
            known,
            file: rest.take(file)?,
            path: rest.text(path)?,
            interpreter: rest.text(interpreter)?,
            arguments: rest.take(arguments)?,
        })
    }

    fn is(&self, flag: u32) -> bool {
        self.known & flag != 0
    }
}

fn exec(rest: RecordBytes<'_>) -> Option<Exec<'_>> {
    let record = ExecRecord::of(rest)?;
    let arguments = Arguments { bytes: record.arguments, are_cut: record.is(ARGUMENTS_CUT) };
    let program = Program {
        ppid: record.ppid,
        argc: record.argc,
        arguments: (!record.is(ARGUMENTS_UNREAD)).then_some(arguments),
        file: record.is(HAS_FILE).then(|| Directory::new(record.file, record.known).path()),
        interpreter: Some(record.interpreter).filter(|interpreter| !interpreter.is_empty()),
    };
    Some(Exec { path: record.path, old_tid: record.old_tid, program: Some(program) })
}

fn failed_exec(rest: RecordBytes<'_>) -> Option<FailedExec<'_>> {
    let record = ExecRecord::of(rest)?;
    Some(FailedExec {
        path: (!record.is(PATH_UNREAD)).then_some(until_nul(record.path)),
        is_cut: record.is(PATH_CUT),
        dirfd: record.dirfd,
        ppid: record.ppid,
        result: record.result,
    })
}

fn exit(mut rest: RecordBytes<'_>) -> Option<Exit> {
    let (lifetime, cpu_time) = (rest.u64()?, rest.u64()?);
    let (status, how, ppid) = (rest.i32()?, rest.u32()?, rest.u32()?);
    let by_exec = how & BY_EXEC != 0;
    let exit = match by_exec {
        true => Exit { ending: Some(Ending::Killed(None)), by_exec, ..Exit::default() },
        false => Exit::with_status(status),
    };
    Some(Exit {
        group_dead: Some(how & GROUP_DEAD != 0),
        ppid: Some(ppid),
        lifetime: Some(lifetime),
        cpu_time: Some(cpu_time),
        ..exit
    })
}

fn generated(mut rest: RecordBytes<'_>) -> Option<Generated<'_>> {
    let (signal, code) = (rest.i32()?, rest.i32()?);
    let (to_tid, to_pid) = (rest.u32()?, rest.u32()?);
    let (result, how) = (rest.i32()?, rest.u32()?);
    Some(Generated {
        signal,
        code,
        to_tid,
        to_pid: Some(to_pid),
        to_comm: rest.text(COMM)?,
        result: result.into(),
        is_for_group: how & GROUP != 0,
        in_interrupt: how & INTERRUPT != 0,
    })
}

fn delivered(mut rest: RecordBytes<'_>) -> Option<DeliveredSignal> {
    let (handler, flags) = (rest.u64()?, rest.u64()?);
    Some(DeliveredSignal { handler, flags, signal: rest.i32()?, code: rest.i32()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(kind in 0u32..7, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut record = vec![0; 28];
            record.extend(kind.to_ne_bytes());
            record.extend(bytes);
            let _ = Record::of(&record);
        }
    }
}

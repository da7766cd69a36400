//! The line of a wait.

use trace_hook_api::{LineBuffer, Origin};
use trace_stacks::Frame;
use trace_syscalls::Abi;

use super::description::DURATION;
use super::record::{Wait, Waker};
use super::states;

/// Adds the line of a wait with this stack.
pub fn show(wait: &Wait<'_>, frames: &[Frame], lines: &mut LineBuffer) {
    let origin = Origin::at(wait.time).cpu(wait.cpu).pid(wait.pid).tid(wait.tid).comm(wait.comm);
    lines.add_event(&origin, "wait", |line| {
        let line = line
            .duration(DURATION, wait.duration)
            .word("state", states::name(wait.state))
            .optional(wait.call, |line, number| line.word("call", &call(number, wait.is_compat)))
            .optional(wait.is_compat.then_some(true), |line, compat| line.flag("compat", compat))
            .optional(wait.futex, |line, futex| line.address("futex", futex))
            .optional(wait.runnable, |line, runnable| line.duration("runnable", runnable));
        match wait.waker {
            None => line,
            Some(Waker::Interrupt) => line.flag("interrupt", true),
            Some(Waker::Task { pid, tid, comm }) => {
                line.number("waker_pid", pid).number("waker_tid", tid).text("waker_comm", comm)
            }
        }
        .list("stack", frames.iter().map(|frame| frame.name.as_bytes()))
    });
}

fn call(number: u32, is_compat: bool) -> String {
    let abi = if is_compat { Abi::Compat } else { Abi::Native };
    abi.name(number).map_or_else(|| format!("call_{number}"), str::to_owned)
}

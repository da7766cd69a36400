//! A record of the programs: `struct wait_record` or `struct code_record` in `bpf/offcpu.bpf.c`.

use trace_ebpf::{RecordBytes, until_nul};
use trace_tasks::Pid;

// `enum kind`.
const WAIT: u64 = 0;
const CODE: u64 = 1;

// The bits of `known`.
const IS_COMPAT: u32 = 1;
const HAS_FUTEX: u32 = 2;
const HAS_WAKER: u32 = 4;
const BY_INTERRUPT: u32 = 8;

const COMM: u32 = 16;

/// The memory of a process. Its number differs from that of the program that the process executed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Memory {
    pub process: Pid,
    pub number: u64,
}

/// A wait that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait<'a> {
    /// The lost records of this CPU before it.
    pub lost: u64,
    /// When it began, in nanoseconds since boot.
    pub time: u64,
    pub duration: u64,
    /// From when it was woken until it had a CPU. `None` if it was not woken.
    pub runnable: Option<u64>,
    pub memory: Memory,
    pub cpu: u32,
    pub pid: Pid,
    pub tid: Pid,
    pub comm: &'a [u8],
    /// The kernel's bits (`TASK_…` in include/linux/sched.h).
    pub state: u32,
    /// The number of the system call.
    pub call: Option<u32>,
    /// Whether it is a call of the 32-bit interface.
    pub is_compat: bool,
    /// The address of the futex.
    pub futex: Option<u64>,
    pub waker: Option<Waker<'a>>,
    /// Addresses, the innermost first.
    pub kernel_stack: &'a [[u8; 8]],
    pub user_stack: &'a [[u8; 8]],
}

/// Who has ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waker<'a> {
    Interrupt,
    Task { pid: Pid, tid: Pid, comm: &'a [u8] },
}

/// The memory in which code was mapped, if this is such a record.
pub fn mapped_code(bytes: &[u8]) -> Option<Memory> {
    let mut bytes = RecordBytes::new(bytes);
    let (kind, number) = (bytes.u64()?, bytes.u64()?);
    (kind == CODE).then_some(Memory { process: bytes.u32()?, number })
}

/// The CPU of a wait, and the number of records that were lost there before it.
pub fn lost_before(bytes: &[u8]) -> Option<(u32, u64)> {
    Wait::of(bytes).map(|wait| (wait.cpu, wait.lost))
}

impl<'a> Wait<'a> {
    /// The wait in these bytes. `None` if they are too few, or another record.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = RecordBytes::new(bytes);
        if bytes.u64()? != WAIT {
            return None;
        }
        let (lost, time, duration, woken) = (bytes.u64()?, bytes.u64()?, bytes.u64()?, bytes.u64()?);
        let (number, futex) = (bytes.u64()?, bytes.u64()?);
        let (cpu, pid, tid, state) = (bytes.u32()?, bytes.u32()?, bytes.u32()?, bytes.u32()?);
        let (call, known) = (bytes.i32()?, bytes.u32()?);
        let (waker_pid, waker_tid) = (bytes.u32()?, bytes.u32()?);
        let (comm, waker_comm) = (bytes.take(COMM)?, bytes.take(COMM)?);
        let (kernel, user) = (bytes.u32()?, bytes.u32()?);
        let waker = match known & (HAS_WAKER | BY_INTERRUPT) {
            // It was preempted. An earlier wake-up has nothing to do with that.
            _ if state == 0 => None,
            HAS_WAKER => Some(Waker::Task { pid: waker_pid, tid: waker_tid, comm: until_nul(waker_comm) }),
            0 => None,
            _ => Some(Waker::Interrupt),
        };
        Some(Self {
            lost,
            time,
            duration,
            runnable: waker.map(|_| time.saturating_add(duration).saturating_sub(woken).min(duration)),
            memory: Memory { process: pid, number },
            cpu,
            pid,
            tid,
            comm: until_nul(comm),
            state,
            call: call.try_into().ok(),
            is_compat: known & IS_COMPAT != 0,
            futex: (known & HAS_FUTEX != 0).then_some(futex),
            waker,
            kernel_stack: bytes.take(kernel)?.as_chunks().0,
            user_stack: bytes.take(user)?.as_chunks().0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(state: u32, known: u32) -> Vec<u8> {
        let longs = [WAIT, 3, 1000, 500, 1400, 77, 0xf0];
        let numbers = [1, 20, 21, state, 202, known, 30, 31];
        let mut bytes: Vec<u8> = longs.iter().flat_map(|long| long.to_ne_bytes()).collect();
        bytes.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
        bytes.extend(b"sleeper\0\0\0\0\0\0\0\0\0waker\0\0\0\0\0\0\0\0\0\0\0");
        bytes.extend([8_u32, 16].iter().flat_map(|length| length.to_ne_bytes()));
        bytes.extend([5_u64, 6, 7].iter().flat_map(|address| address.to_ne_bytes()));
        bytes
    }

    #[test]
    fn wait_is_read() {
        let bytes = bytes(1, HAS_FUTEX | HAS_WAKER);
        let wait = Wait::of(&bytes).unwrap();
        assert_eq!((wait.lost, wait.time, wait.duration, wait.runnable), (3, 1000, 500, Some(100)));
        assert_eq!((wait.cpu, wait.pid, wait.tid, wait.comm), (1, 20, 21, &b"sleeper"[..]));
        assert_eq!((wait.call, wait.futex), (Some(202), Some(0xf0)));
        assert_eq!(wait.waker, Some(Waker::Task { pid: 30, tid: 31, comm: b"waker" }));
        assert_eq!((wait.kernel_stack.len(), wait.user_stack.len()), (1, 2));
        assert_eq!(lost_before(&bytes), Some((1, 3)));
        assert_eq!(mapped_code(&bytes), None);
    }

    #[test]
    fn preempted_task_has_no_waker() {
        let bytes = bytes(0, HAS_WAKER);
        let wait = Wait::of(&bytes).unwrap();
        assert_eq!((wait.waker, wait.runnable, wait.futex), (None, None, None));
    }

    #[test]
    fn truncated_record_is_none() {
        let bytes = bytes(1, 0);
        assert!((0..bytes.len()).all(|length| Wait::of(&bytes[..length]).is_none()));
        assert!((0..24).all(|length| mapped_code(&bytes[..length]).is_none()));
    }
}

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use perf_event_open_sys::{bindings, ioctls, perf_event_open};
use trace_tasks::Pid;

use super::attributes::Attributes;

const NO_GROUP: RawFd = -1;
/// No valid file descriptor.
const INVALID_GROUP: RawFd = -2;

/// The tasks that an event is about.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// This thread (0: the calling one), and what inherits the event from it.
    Thread(Pid),
    /// The tasks of the cgroup with this directory, and of those below it. Only on one CPU.
    Cgroup(BorrowedFd<'a>),
    /// All tasks. Only on one CPU.
    AllTasks,
}

/// An event of one or more tasks. It ends when this is dropped, or with this process.
#[derive(Debug)]
pub struct Event {
    fd: OwnedFd,
}

/// What an event has counted, in all tasks that have inherited it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// The count.
    pub value: u64,
    /// How long the event was enabled, in nanoseconds.
    pub enabled: u64,
    /// How long of that it was counting: less, where it shares a hardware counter.
    pub running: u64,
    /// Records for which there was no room, if [they are counted](Attributes::counting_losses).
    pub lost: u64,
}

impl Event {
    /// Opens an event, on this CPU or on all. It is enabled at once.
    ///
    /// # Errors
    ///
    /// Those of perf_event_open(2).
    pub fn open(attributes: &Attributes, subject: Subject<'_>, cpu: Option<u32>) -> io::Result<Self> {
        Self::open_in_group(attributes, subject, cpu, NO_GROUP)
    }

    /// Whether the kernel lets this thread open such an event of its own.
    ///
    /// The event is not opened: for the first event of a task the kernel patches its scheduler and waits for all CPUs, which
    /// takes some 16 ms. The kernel looks up the group of an event last, after all checks that do not depend on its task: so
    /// the error about an invalid group means that everything else is valid.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn check(attributes: &Attributes) -> io::Result<()> {
        match Self::open_in_group(attributes, Subject::Thread(0), None, INVALID_GROUP) {
            Err(error) if error.raw_os_error() == Some(Errno::EBADF as i32) => Ok(()),
            opened => opened.map(drop),
        }
    }

    fn open_in_group(
        attributes: &Attributes,
        subject: Subject<'_>,
        cpu: Option<u32>,
        group: RawFd,
    ) -> io::Result<Self> {
        let mut attributes = attributes.as_raw();
        let cpu = cpu.map_or(-1, u32::cast_signed);
        let (pid, kind) = match subject {
            Subject::Thread(thread) => (thread.cast_signed(), 0),
            Subject::Cgroup(directory) => (directory.as_raw_fd(), bindings::PERF_FLAG_PID_CGROUP),
            Subject::AllTasks => (-1, 0),
        };
        let flags = (bindings::PERF_FLAG_FD_CLOEXEC | kind).into();
        // SAFETY: the attributes are those of the kernel's header, with their size in them, and live as long as the call.
        let fd = unsafe { perf_event_open(&raw mut attributes, pid, cpu, group, flags) };
        succeeded(fd)?;
        // SAFETY: the kernel has just made the descriptor, and nothing else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Writes its records into the ring buffer of another event of the same CPU.
    ///
    /// # Errors
    ///
    /// Those of `PERF_EVENT_IOC_SET_OUTPUT`.
    pub fn redirect_to(&self, ring: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: the call takes two open descriptors, and touches no memory. The kernel checks that both are perf events.
        succeeded(unsafe { ioctls::SET_OUTPUT(self.fd.as_raw_fd(), ring.as_raw_fd()) })
    }

    /// Whether the task has ended, and all tasks that have inherited the event. Always true for an event without a ring
    /// buffer.
    pub fn has_ended(&self) -> bool {
        let mut fd = [PollFd::new(self.fd.as_fd(), PollFlags::empty())];
        let _ = poll(&mut fd, PollTimeout::ZERO);
        fd[0].revents().is_some_and(|now| now.contains(PollFlags::POLLHUP))
    }

    /// Disables it, in all tasks that have inherited it as well. The counts remain.
    ///
    /// # Errors
    ///
    /// Those of `PERF_EVENT_IOC_DISABLE`.
    pub fn disable(&self) -> io::Result<()> {
        // SAFETY: the descriptor is an open perf event, and the call touches no memory.
        succeeded(unsafe { ioctls::DISABLE(self.fd.as_raw_fd(), 0) })
    }

    /// The id that its records have, also those of tasks that have inherited it.
    ///
    /// # Errors
    ///
    /// Those of `PERF_EVENT_IOC_ID`.
    pub fn id(&self) -> io::Result<u64> {
        let mut id = 0;
        // SAFETY: the descriptor is an open perf event, and the kernel writes one u64 to `id`, which is one.
        succeeded(unsafe { ioctls::ID(self.fd.as_raw_fd(), &raw mut id) })?;
        Ok(id)
    }

    /// What it has counted so far.
    ///
    /// # Errors
    ///
    /// Those of read(2).
    pub fn read(&self) -> io::Result<Reading> {
        let mut bytes = [0; 4 * 8];
        nix::unistd::read(&self.fd, &mut bytes)?;
        let number = |place: usize| bytes.as_chunks().0.get(place).copied().map_or(0, u64::from_ne_bytes);
        Ok(Reading { value: number(0), enabled: number(1), running: number(2), lost: number(3) })
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn succeeded(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

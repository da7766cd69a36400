use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use perf_event_open_sys::{bindings, ioctls, perf_event_open};
use tracefs::Pid;

use super::attributes::Attributes;
use super::ring::Ring;

const NO_GROUP: RawFd = -1;
/// No descriptor is negative.
const NOBODYS_GROUP: RawFd = -2;

/// An event of a task. It is gone when this is dropped, or when this process dies.
#[derive(Debug)]
pub struct Event {
    fd: OwnedFd,
}

/// What an event has counted, those included that have inherited it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// The count, as far as it was counted.
    pub value: u64,
    /// For how long there was something to count, in nanoseconds.
    pub enabled: u64,
    /// For how long of that it was counted: less, where hardware counters are shared.
    pub running: u64,
    /// Records for which there was no room, where [asked for](Attributes::counting_losses).
    pub lost: u64,
}

impl Event {
    /// Opens an event of this thread (0: the calling one), on this CPU or on all. It is on at once.
    ///
    /// # Errors
    ///
    /// The kernel's, of which perf_event_open(2) tells the meaning.
    pub fn open(attributes: &Attributes, thread: Pid, cpu: Option<u32>) -> io::Result<Self> {
        Self::open_in_group(attributes, thread, cpu, NO_GROUP)
    }

    /// Whether the kernel lets this thread open such an event of its own.
    ///
    /// It is not opened, for the first event of a task makes the kernel rewrite its scheduler's code, and wait for all
    /// CPUs: that took 16 ms here. The kernel looks for the group of an event when it has checked everything else that
    /// does not depend on its task.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn check(attributes: &Attributes) -> io::Result<()> {
        match Self::open_in_group(attributes, 0, None, NOBODYS_GROUP) {
            Err(error) if error.raw_os_error() == Some(Errno::EBADF as i32) => Ok(()),
            opened => opened.map(drop),
        }
    }

    fn open_in_group(
        attributes: &Attributes,
        thread: Pid,
        cpu: Option<u32>,
        group: RawFd,
    ) -> io::Result<Self> {
        let mut attributes = attributes.as_raw();
        let cpu = cpu.map_or(-1, u32::cast_signed);
        let flags = bindings::PERF_FLAG_FD_CLOEXEC.into();
        // SAFETY: the attributes are those of the kernel's header, with their size in them, and live as long as the call.
        let fd = unsafe { perf_event_open(&raw mut attributes, thread, cpu, group, flags) };
        succeeded(fd)?;
        // SAFETY: the kernel has just made it, and nobody else knows of it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Has its records written into a ring, which must be that of its CPU.
    pub fn write_to(&self, ring: &Ring) -> io::Result<()> {
        // SAFETY: both are open perf events.
        succeeded(unsafe { ioctls::SET_OUTPUT(self.fd.as_raw_fd(), ring.as_fd().as_raw_fd()) })
    }

    /// Whether the task is gone, and all to whom it has handed the event on. Of an event that writes into no ring, the kernel
    /// always says so.
    pub fn is_over(&self) -> bool {
        let mut fd = [PollFd::new(self.fd.as_fd(), PollFlags::empty())];
        let _ = poll(&mut fd, PollTimeout::ZERO);
        fd[0].revents().is_some_and(|now| now.contains(PollFlags::POLLHUP))
    }

    /// Ends it, for all who have inherited it as well. What it has counted remains.
    pub fn disable(&self) -> io::Result<()> {
        // SAFETY: it is an open perf event.
        succeeded(unsafe { ioctls::DISABLE(self.fd.as_raw_fd(), 0) })
    }

    /// The id by which its records are known, those of its heirs included.
    pub fn id(&self) -> io::Result<u64> {
        let mut id = 0;
        // SAFETY: it is an open perf event, and the kernel writes one number.
        succeeded(unsafe { ioctls::ID(self.fd.as_raw_fd(), &raw mut id) })?;
        Ok(id)
    }

    /// What it has counted so far.
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

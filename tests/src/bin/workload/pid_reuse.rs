//! Children with a given pid.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use nix::libc;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getsid};

/// Starts a child that has this pid, which must be free, and waits for it. It emits this many marks, one a millisecond.
pub fn marks_as(pid: i32, marks: usize) -> io::Result<String> {
    match start_as(pid)? {
        0 => {
            for number in 0..marks {
                let _ = getsid(Some(Pid::from_raw(number as i32)));
                sleep(Duration::from_millis(1));
            }
            // SAFETY: it does not return and runs no code of this program.
            unsafe { libc::_exit(0) }
        }
        child => {
            waitpid(Pid::from_raw(child), None)?;
            Ok("done".to_owned())
        }
    }
}

/// Forks a child with this pid (clone3(2), "set_tid"). Returns its id, and 0 in the child.
fn start_as(pid: i32) -> io::Result<i32> {
    // SAFETY: all members are numbers, for which 0 is valid.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.set_tid = (&raw const pid).addr() as u64;
    arguments.set_tid_size = 1;
    // SAFETY: as fork(2). The child makes system calls only, and touches no memory of other threads.
    let child = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    match child {
        -1 => Err(io::Error::last_os_error()),
        child => Ok(child as i32),
    }
}

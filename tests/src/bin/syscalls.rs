//! Makes system calls, to be traced: `syscalls STEP` prints its pid, waits for a line on standard input, and runs the step.
//!
//! - `corpus DIRECTORY`: many different calls, in an empty directory
//! - `bytes`: texts that are hard to show, and memory that cannot be read
//! - `vanishing`: arguments whose memory is gone when the call returns
//! - `argv N`: executes a program with N arguments
//! - `untouched`: executes a program, with arguments in memory that was never touched
//! - `execs N`: N threads, the last of which executes a program
//! - `race N`: N threads, all of which execute a program at the same time
//! - `interrupted`: calls that a signal interrupts and that are restarted
//! - `waits`: a call that does not return
//! - `compat`: calls of the 32-bit interface

#![allow(clippy::too_many_lines, reason = "a list of calls")]

#[path = "syscalls/corpus.rs"]
mod corpus;
#[path = "syscalls/edges.rs"]
mod edges;

use std::io::{self, Write, stdin, stdout};

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    writeln!(stdout(), "{}", std::process::id())?;
    stdout().flush()?;
    stdin().read_line(&mut String::new())?;
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["corpus", directory] => corpus::all(directory),
        ["bytes"] => edges::bytes(),
        ["vanishing"] => edges::vanishing(),
        ["argv", count] => edges::arguments(count),
        ["untouched"] => edges::untouched(),
        ["execs", count] => edges::execs(count),
        ["race", count] => edges::race(count),
        ["interrupted"] => edges::interrupted(),
        ["waits"] => edges::waits(),
        ["compat"] => edges::compat(),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Makes a system call, with addresses of values for references.
macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {
        // SAFETY: the kernel reads and writes only what the arguments point to, which lives until the call returns.
        unsafe { nix::libc::syscall(nix::libc::$number $(, $crate::Argument::word($argument))*) }
    };
}
pub(crate) use call;

/// Something that can be an argument of a system call.
pub trait Argument {
    /// Its register.
    fn word(self) -> nix::libc::c_long;
}

macro_rules! numbers {
    ($($type:ty)*) => {
        $(impl Argument for $type {
            fn word(self) -> nix::libc::c_long {
                self as nix::libc::c_long
            }
        })*
    };
}
numbers!(i32 i64 u32 u64 usize);

impl Argument for &std::ffi::CStr {
    fn word(self) -> nix::libc::c_long {
        self.as_ptr() as nix::libc::c_long
    }
}

impl<T> Argument for &mut T {
    fn word(self) -> nix::libc::c_long {
        std::ptr::from_mut(self) as nix::libc::c_long
    }
}

impl<T> Argument for *const T {
    fn word(self) -> nix::libc::c_long {
        self as nix::libc::c_long
    }
}

//! Makes system calls to be traced: `caller CALL...` waits for a line on standard input, makes each call
//! `NUMBER,ARGUMENT,...`, and then exits without any other system call than `_exit`.

use std::io::{self, stdin};

use nix::libc;

fn main() -> io::Result<()> {
    let calls: Vec<Vec<i64>> = std::env::args().skip(1).map(|call| numbers(&call)).collect();
    stdin().read_line(&mut String::new())?;
    for mut call in calls {
        call.resize(7, 0);
        // SAFETY: the calls that the tests pass have no valid address among their arguments, so none changes this memory.
        unsafe { libc::syscall(call[0], call[1], call[2], call[3], call[4], call[5], call[6]) };
    }
    // SAFETY: `_exit` ends the process at once.
    unsafe { libc::_exit(0) }
}

fn numbers(call: &str) -> Vec<i64> {
    call.split(',').map(|number| number.parse().expect("a number")).collect()
}

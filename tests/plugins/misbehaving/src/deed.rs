//! What can be done wrong.

use std::io::Write;
use std::time::Duration;
use std::{env, panic, process, thread};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, chdir, fork, pause, setsid};
use trace_hook_api::{HookError, Result, log};

/// Does it, as far as that is allowed where it is done.
pub fn perform(deed: &str) -> Result<()> {
    match deed {
        "abort" => process::abort(),
        "segfault" => segfault(),
        "exit" => process::exit(0),
        "hang" => loop {
            thread::sleep(Duration::from_millis(10));
        },
        "spin" => loop {
            std::hint::spin_loop();
        },
        "fail" => return Err(HookError::new("a failure like any other")),
        "panic" => panic!("a plain message"),
        "panic-format" => panic!("a message with {} numbers", 2 + 1),
        "panic-any" => panic::panic_any(42_u8),
        "print" => print(),
        "close" => (0..=2).for_each(|fd| {
            // SAFETY: nothing in this library owns these descriptors.
            _ = unsafe { libc::close(fd) };
        }),
        "flood" => flood(),
        "log" => loop {
            log::info!("one record more");
        },
        "handle-signals" => handle_signals(),
        "block-signals" => sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None)?,
        "fork" => leave_child(),
        "fork-and-die" => {
            leave_child();
            process::abort();
        }
        "daemon" => leave_daemon(),
        "daemon-and-die" => {
            leave_daemon();
            process::abort();
        }
        "daemon-and-hang" => {
            leave_daemon();
            perform("hang")?;
        }
        "return-twice" => {
            // SAFETY: for the child to go on where it has no right to is the point.
            let _ = unsafe { fork() };
        }
        "threads" => (0..8).for_each(|_| drop(thread::spawn(|| perform("hang")))),
        "setsid" => {
            // A leader of a process group cannot, which is as well.
            let _ = setsid();
        }
        "elsewhere" => go_elsewhere(),
        _ => {}
    }
    Ok(())
}

fn segfault() {
    // SAFETY: there is nothing safe about it: nothing lies at this address, as the kernel sees to (vm.mmap_min_addr).
    unsafe { std::ptr::without_provenance::<u8>(8).read_volatile() };
}

fn print() {
    println!("printed on standard output");
    eprintln!("printed \x1b[31m on standard error");
}

fn flood() {
    let line = [b"flood".as_slice(), &[b'.'; 1018], b"\n"].concat();
    let mut out = std::io::stdout().lock();
    for _ in 0..100 << 10 {
        let _ = out.write_all(&line);
    }
    let _ = out.write_all(b"the end of the flood\n");
    let _ = out.flush();
}

fn handle_signals() {
    extern "C" fn handle(_: libc::c_int) {}
    for signal in Signal::iterator() {
        // SAFETY: the handler does nothing at all, which is safe at any moment.
        unsafe { libc::signal(signal as libc::c_int, handle as *const () as libc::sighandler_t) };
    }
}

/// Forks a process, which keeps all that it has inherited.
fn leave_child() {
    // SAFETY: the child does nothing but wait.
    if let Ok(ForkResult::Child) = unsafe { fork() } {
        wait_for_ever();
    }
}

/// The same, with nothing that would lead back to this one.
fn leave_daemon() {
    // SAFETY: the child makes system calls only.
    if let Ok(ForkResult::Child) = unsafe { fork() } {
        let _ = setsid();
        leave_child();
        // SAFETY: `_exit` ends the process at once.
        unsafe { libc::_exit(0) }
    }
}

fn wait_for_ever() -> ! {
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None);
    loop {
        pause();
    }
}

fn go_elsewhere() {
    let _ = chdir("/proc");
    umask(Mode::all());
    for (name, _) in env::vars_os() {
        // SAFETY: the worker has one thread, and the host reads none of them any more.
        unsafe { env::remove_var(name) };
    }
}

//! The faults of the hook.

use std::io::Write;
use std::time::Duration;
use std::{env, panic, process, thread};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, chdir, fork, pause, setsid};
use trace_hook_api::{HookError, Result, log};

/// Performs the fault, as far as the sandbox allows it.
pub fn perform(fault: &str) -> Result<()> {
    match fault {
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
            // SAFETY: none: a child that continues in the host's code is the fault to test.
            let _ = unsafe { fork() };
        }
        "threads" => (0..8).for_each(|_| drop(thread::spawn(|| perform("hang")))),
        "many-threads" => while start_idle_thread().is_ok() {},
        "setsid" => {
            // It fails for the leader of a process group.
            let _ = setsid();
        }
        "elsewhere" => change_environment(),
        _ => {}
    }
    Ok(())
}

fn start_idle_thread() -> std::io::Result<()> {
    const SMALLEST_STACK: usize = 16 << 10;
    let idle = || thread::sleep(Duration::from_secs(60));
    thread::Builder::new().stack_size(SMALLEST_STACK).spawn(idle).map(drop)
}

fn segfault() {
    // SAFETY: none: the access must fault. No memory is mapped at this address (vm.mmap_min_addr).
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
        // SAFETY: the handler does nothing at all, which is async-signal-safe.
        unsafe { libc::signal(signal as libc::c_int, handle as *const () as libc::sighandler_t) };
    }
}

/// Forks a process that keeps all inherited descriptors open.
fn leave_child() {
    // SAFETY: the child only makes system calls.
    if let Ok(ForkResult::Child) = unsafe { fork() } {
        wait_forever();
    }
}

/// The same, with a process in its own session whose parent has exited.
fn leave_daemon() {
    // SAFETY: the child only makes system calls.
    if let Ok(ForkResult::Child) = unsafe { fork() } {
        let _ = setsid();
        leave_child();
        // SAFETY: `_exit` ends the process at once.
        unsafe { libc::_exit(0) }
    }
}

fn wait_forever() -> ! {
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None);
    loop {
        pause();
    }
}

fn change_environment() {
    let _ = chdir("/proc");
    umask(Mode::all());
    for (name, _) in env::vars_os() {
        // SAFETY: the worker has one thread, and the host no longer reads the environment.
        unsafe { env::remove_var(name) };
    }
}

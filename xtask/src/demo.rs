//! `cargo xtask demo`: two seconds of a real system-call trace.

use std::env;
use std::process::{Command, Stdio};

use crate::children::Guarded;
use crate::error::{Explain, Result};
use crate::{dist, privilege};

/// The argument that skips the build, so that root needs no Rust toolchain.
pub const AS_BUILT: &str = "--as-built";

/// A small endless workload.
const WORKLOAD: &str = "while sleep 0.2; do cat /etc/hostname; done";

/// Builds everything, and traces a workload.
pub fn demo() -> Result<()> {
    dist::lay_out()?;
    show()
}

/// Traces a workload with what was built.
pub fn show() -> Result<()> {
    if !privilege::is_root() {
        return Err(ask_for_root()?.into());
    }
    let workload =
        Command::new("sh").args(["-c", WORKLOAD]).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let workload = Guarded(workload.explain(|| "cannot start a shell")?);

    let arguments = format!("--pid {} --time 2000", workload.0.id());
    eprintln!("The workload:  sh -c '{WORKLOAD}'");
    eprintln!(
        "The command:   manager {} --run trace_syscalls --follow --args \"{arguments}\"\n",
        dist::ALLOW_UNTRUSTED
    );
    let status = dist::call()
        .args(["--run", "trace_syscalls", "--follow", "--args", &arguments])
        .status()
        .explain(|| format!("cannot start {}", dist::manager().display()))?;
    if status.success() { Ok(()) } else { Err(format!("the manager ended with {status}").into()) }
}

fn ask_for_root() -> Result<String> {
    let this = env::current_exe()?;
    Ok(format!(
        "the demo needs root to trace the kernel. The build is complete; to run the demo, type:\n\n    \
         sudo {} demo {AS_BUILT}\n",
        this.display()
    ))
}

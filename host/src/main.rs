//! `manager`: the plugin host that runs kernel trace hooks.
//!
//! This process is a supervisor. It reads the command line and the environment, owns the signals and prints. It never
//! loads a plugin: each is met in a worker, a forked child that does one job and answers over a socket. So whatever a
//! plugin does costs its own worker and nothing else.
//!
//! - [`command_line`], [`environment`], [`interrupts`], [`output`]: what the caller gives and gets
//! - [`plugins`]: finds plugins, checks them, and knows whose hook is whose
//! - [`worker`]: the processes that plugins live in
//! - [`session`]: a run from its first check to its last line
//! - [`checks`]: whether a plugin keeps what plugins promise
//! - [`actions`]: one file for each thing that `manager` does

mod actions;
mod checks;
mod command_line;
mod environment;
mod error;
mod interrupts;
mod logging;
mod output;
mod plugins;
mod session;
mod worker;

use std::panic;
use std::process::ExitCode;

use command_line::Call;
use error::Result;
use interrupts::Interrupts;

fn main() -> ExitCode {
    // A defect of ours, too, is one line, and no backtrace.
    panic::set_hook(Box::new(|panic| output::tell(&format!("internal error: {panic}; please report it"))));
    let Ok(outcome) = panic::catch_unwind(run) else { return ExitCode::FAILURE };
    let (remarks, exit_status) = match outcome {
        Ok(remarks) => (remarks, ExitCode::SUCCESS),
        Err(error) => (error.lines(), ExitCode::from(error.exit_status())),
    };
    remarks.iter().for_each(|remark| output::tell(remark));
    exit_status
}

/// What it returns is to be told to the user, but is no failure.
fn run() -> Result<Vec<String>> {
    // First of all: from here on a signal means an orderly end.
    let interrupts = Interrupts::catch()?;
    interrupts::survive_large_files();
    worker::descendants::adopt();
    let call = Call::from_command_line()?;
    logging::start(call.verbosity);
    actions::perform(call, &interrupts)
}

//! `manager`: the plugin host that runs kernel trace hooks.
//!
//! This process is a supervisor. It reads the command line and the environment, handles the signals and prints. It
//! never loads a plugin: a forked worker loads it, does one job, and answers over a socket. So a crash in a plugin ends
//! that worker and nothing else.
//!
//! The folders, from the top; each imports only those below it:
//! - [`actions`]: one file for each action of the command line
//! - [`checks`]: `--check`, which tests whether a plugin keeps the rules of the interface
//! - [`session`]: a run, from its start to the end of its trace file
//! - [`plugins`]: finds plugins, checks them before they are loaded, and knows which plugin owns a hook
//! - [`worker`]: the processes that plugins are loaded into, and their messages
//! - [`arguments`]: the arguments of a hook

mod actions;
mod arguments;
mod checks;
mod command_line;
mod environment;
mod error;
mod fuse;
mod interrupts;
mod logging;
mod output;
mod path_walk;
mod patience;
mod plugins;
mod process_stat;
mod session;
mod signals_at_spawn;
mod worker;

use std::panic;
use std::process::ExitCode;

use actions::Outcome;
use command_line::Call;
use error::Result;
use interrupts::Interrupts;
use session::CommandEnd;

fn main() -> ExitCode {
    // A panic of the host is one line as well, without a backtrace.
    panic::set_hook(Box::new(|panic| output::report(&format!("internal error: {panic}; please report it"))));
    let Ok(outcome) = panic::catch_unwind(run) else { return ExitCode::FAILURE };
    let (remarks, command, exit_status) = match outcome {
        Ok(Outcome { remarks, command }) => (remarks, command, ExitCode::SUCCESS),
        Err(error) => (error.lines(), None, ExitCode::from(error.exit_status())),
    };
    remarks.iter().for_each(|remark| output::report(remark));
    command.map_or(exit_status, CommandEnd::pass_on)
}

/// Performs the call.
fn run() -> Result<Outcome> {
    // First: from here on, a signal ends the call in an orderly way.
    let interrupts = Interrupts::catch()?;
    interrupts::ignore_file_size_signal();
    worker::descendants::adopt();
    let call = Call::from_command_line()?;
    patience::read();
    logging::start(call.verbosity, call.prints_trace());
    actions::perform(call, &interrupts)
}

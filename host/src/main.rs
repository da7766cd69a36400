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
//! - [`actions`]: one file for each thing that `manager` does

mod actions;
mod command_line;
mod environment;
mod error;
mod interrupts;
mod logging;
mod output;
mod plugins;
mod session;
mod worker;

use std::process::ExitCode;

use command_line::Call;
use error::{Error, Result};
use interrupts::Interrupts;

fn main() -> ExitCode {
    let (complaints, exit_status) = match run() {
        Ok(complaints) => (complaints, ExitCode::SUCCESS),
        Err(error) => {
            let exit_status = ExitCode::from(error.exit_status());
            (vec![error], exit_status)
        }
    };
    complaints.iter().flat_map(Error::lines).for_each(|line| output::complain(&line));
    exit_status
}

fn run() -> Result<Vec<Error>> {
    // First of all: from here on a signal means an orderly end.
    let interrupts = Interrupts::catch()?;
    let call = Call::from_command_line()?;
    logging::start(call.verbosity);
    actions::perform(call, &interrupts)
}

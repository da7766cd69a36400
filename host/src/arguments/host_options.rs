//! The options of every call of `manager`.

use std::path::PathBuf;

use clap::{ArgAction, Args};

#[derive(Debug, Default, Args)]
pub struct HostOptions {
    /// A directory of plugins, instead of the default ones; can be repeated
    #[arg(long, value_name = "DIR")]
    pub plugins: Vec<PathBuf>,

    /// Load plugins that users other than root and you can change
    #[arg(long)]
    pub allow_untrusted: bool,

    /// Log to standard error; -vv and -vvv log more
    #[arg(short, action = ArgAction::Count)]
    pub verbosity: u8,
}

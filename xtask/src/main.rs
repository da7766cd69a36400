//! The project's chores, as `cargo xtask CHORE`.

mod bench;
mod bpf;
mod cargo;
mod children;
mod demo;
mod dist;
mod error;
mod privilege;
mod test;

use std::env;
use std::process::ExitCode;

use crate::error::Result;

const USAGE: &str = "\
Usage: cargo xtask CHORE

  dist             build in release mode, and lay out dist/, ready to be copied next to container-tracer
  demo             dist, then trace a small workload for two seconds (needs root)
  test [WORD…]     build everything, and run every test; the words go to `cargo test`
  faults           fail every system call of a session, one after the other (needs root)
  soak [--sessions N]
                   start and end a thousand sessions at random, and compare what there is before and after (needs root)
  bpf [--check]    build the eBPF objects from their C with clang, or check that they are what it makes
  bench [GROUP…]   measure completeness, speed and memory against the bare kernel and other tools (needs root)";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let words: Vec<String> = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["dist"] => dist::dist(),
        ["demo"] => demo::demo(),
        ["demo", demo::AS_BUILT] => demo::show(),
        ["test", words @ ..] => test::test(words),
        ["faults"] => test::faults(),
        ["soak"] => test::soak(None),
        ["soak", "--sessions", number] if number.parse::<u32>().is_ok() => test::soak(Some(number)),
        ["bpf", words @ ..] => bpf::bpf(words),
        ["bench", groups @ ..] => bench::bench(groups),
        [bench::TASK] => bench::serve(),
        [bench::LOADER] => bench::load_all(),
        ["-h" | "--help" | "help"] => {
            println!("{USAGE}");
            Ok(())
        }
        [] => Err(format!("which chore?\n\n{USAGE}").into()),
        words => Err(format!("cannot make sense of '{}'\n\n{USAGE}", words.join(" ")).into()),
    }
}

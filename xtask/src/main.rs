//! The project's development tasks: `cargo xtask TASK`.

mod bench;
mod bpf;
mod cargo;
mod children;
mod demo;
mod dist;
mod docs;
mod error;
mod kernels;
mod privilege;
mod release;
mod test;

use std::env;
use std::process::ExitCode;

use crate::error::Result;

const USAGE: &str = "\
Usage: cargo xtask TASK

  dist             build in release mode, and create dist/, ready to be copied next to container-tracer
  release [--test] [ARCHITECTURE…]
                   build what users install into dist/release/; --test uses it on other distributions (needs root)
  demo             dist, then trace a small workload for two seconds (needs root)
  test [ARG…]      build everything, and run every test; the arguments are passed to `cargo test`
  faults           fail every system call of a session in turn (needs root)
  soak [--sessions N]
                   start and end a thousand sessions at random, and check that nothing is left (needs root)
  bpf [--check]    build the eBPF objects from C with clang, or check that they are up to date
  docs [--check]   write docs/json.md from the hooks' descriptions of their lines, or check that it is up to date
  kernels [--short] [--product DIR] [--only TEXT] [VERSION…]
                   boot other kernels under emulation, and try every hook there (needs root)
  bench [GROUP…]   measure completeness, speed and memory, compared with the bare kernel and other tools (needs root)";

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
        ["release", words @ ..] => release::release(words),
        ["demo"] => demo::demo(),
        ["demo", demo::AS_BUILT] => demo::show(),
        ["test", words @ ..] => test::test(words),
        ["faults"] => test::faults(),
        ["soak"] => test::soak(None),
        ["soak", "--sessions", number] if number.parse::<u32>().is_ok() => test::soak(Some(number)),
        ["bpf", words @ ..] => bpf::bpf(words),
        ["docs", words @ ..] => docs::docs(words),
        ["kernels", words @ ..] => kernels::kernels(words),
        ["bench", groups @ ..] => bench::bench(groups),
        [bench::TASK] => bench::serve(),
        [bench::LOADER] => bench::load_all(),
        ["-h" | "--help" | "help"] => {
            println!("{USAGE}");
            Ok(())
        }
        [] => Err(format!("no task given\n\n{USAGE}").into()),
        words => Err(format!("unknown task or arguments: '{}'\n\n{USAGE}", words.join(" ")).into()),
    }
}

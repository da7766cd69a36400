//! `cargo xtask bench`: what the manager costs, against what the kernel alone, or another
//! tool, takes on the same machine, at the same time.
//!
//! Each file here is one group of rows; a new one is added to [`GROUPS`]. Whatever comes out is printed, and judged, but
//! never fails a build: another machine is another figure.

mod bare;
mod bpftrace;
mod completeness;
mod cost;
mod counts;
mod crowd;
mod discovery;
mod fifo;
mod hooks;
mod latency;
mod loader;
mod memory;
mod open;
mod packets;
mod perf;
mod process;
mod profile;
mod reader;
mod samples;
mod session;
mod slowdown;
mod standstill;
mod start;
mod stop;
mod table;
mod task;
mod text;
mod user;

use std::fs;

use table::Row;

use crate::error::Result;
use crate::{cargo, dist, privilege};

/// Some rows that belong together.
struct Group {
    name: &'static str,
    about: &'static str,
    /// What the floor of each row is.
    floor: &'static str,
    measure: fn() -> Result<Vec<Row>>,
}

const GROUPS: &[Group] = &[
    discovery::GROUP,
    discovery::LOADING,
    start::GROUP,
    stop::GROUP,
    hooks::GROUP,
    crowd::GROUP,
    memory::GROUP,
    completeness::GROUP,
    text::GROUP,
    fifo::GROUP,
    cost::GROUP,
    slowdown::GROUP,
    standstill::GROUP,
    open::GROUP,
    latency::GROUP,
    profile::GROUP,
    user::GROUP,
];

pub use loader::{LOADER, load_all};
pub use task::{TASK, serve};

/// Measures the groups of these names, or all.
pub fn bench(names: &[&str]) -> Result<()> {
    let groups = chosen(names)?;
    if cfg!(debug_assertions) {
        return again_in_release_mode(names);
    }
    if let Some(why) = privilege::obstacle() {
        return Err(why.into());
    }
    dist::lay_out()?;
    bare::sweep()?;
    println!("{}", machine());
    for group in groups {
        println!("\n{}: {} (load {})", group.name, group.about, load());
        match (group.measure)() {
            Ok(rows) => print!("{}", table::render(group.floor, &rows)),
            Err(error) => println!("  could not be measured: {error}"),
        }
    }
    Ok(())
}

/// What reads, writes and is traced here is measured as well, and should not be slower than its kind.
fn again_in_release_mode(names: &[&str]) -> Result<()> {
    let words = ["run", "--quiet", "--release", "--package", "xtask", "--", "bench"];
    cargo::run(&mut cargo::cargo(&[&words, names].concat()))
}

fn chosen(names: &[&str]) -> Result<Vec<&'static Group>> {
    if names.is_empty() {
        return Ok(GROUPS.iter().collect());
    }
    let find =
        |name: &&str| GROUPS.iter().find(|group| group.name == *name).ok_or_else(|| unknown(name).into());
    names.iter().map(find).collect()
}

fn unknown(name: &str) -> String {
    let known: Vec<_> = GROUPS.iter().map(|group| group.name).collect();
    format!("no group '{name}' to measure; there are {}", known.join(", "))
}

/// What figures depend on.
fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    format!("Linux {}, {cpus} CPUs, load {} before this run", kernel.trim(), load())
}

/// How many tasks have wanted a CPU in the last minute.
fn load() -> String {
    let loads = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    loads.split(' ').next().unwrap_or_default().to_owned()
}

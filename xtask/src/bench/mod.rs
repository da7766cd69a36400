//! `cargo xtask bench`: measures the manager against the bare kernel, or against another tool, on the same machine at the
//! same time.
//!
//! Each file here is one group of rows, listed in [`GROUPS`]. The results are printed and compared with targets, but never
//! fail a build, because they depend on the machine.

mod bpftrace_opens;
mod concurrent_sessions;
mod delivered_events;
mod discovery;
mod hook_start_and_stop;
mod joining;
mod memory_with_stuck_reader;
mod printed_trace;
mod session_cpu_time;
mod session_memory;
mod session_start;
mod session_stop;
mod text_rendering_speed;
mod tools;
mod trace_calls_cost;
mod trace_file_speed;
mod trace_latency_cost;
mod trace_open_cost;
mod trace_profile_cost;
mod trace_user_start_and_stop;
mod traced_task_slowdown;

use std::fs;

use tools::table::Row;
use tools::{bare_instance, table};

use crate::error::Result;
use crate::{cargo, dist, privilege};

/// A group of rows.
struct Group {
    name: &'static str,
    about: &'static str,
    /// The heading of the column that each row is compared with.
    floor: &'static str,
    measure: fn() -> Result<Vec<Row>>,
}

const GROUPS: &[Group] = &[
    discovery::GROUP,
    discovery::LOADING,
    session_start::GROUP,
    session_stop::GROUP,
    hook_start_and_stop::GROUP,
    concurrent_sessions::GROUP,
    joining::GROUP,
    session_memory::GROUP,
    delivered_events::GROUP,
    text_rendering_speed::GROUP,
    trace_file_speed::GROUP,
    printed_trace::GROUP,
    printed_trace::FIRST_LINE,
    printed_trace::SLOWDOWN,
    session_cpu_time::GROUP,
    traced_task_slowdown::GROUP,
    memory_with_stuck_reader::GROUP,
    trace_calls_cost::GROUP,
    trace_open_cost::GROUP,
    trace_latency_cost::GROUP,
    trace_profile_cost::GROUP,
    trace_user_start_and_stop::GROUP,
];

pub use tools::plugin_loader::{LOADER, load_all};
pub use tools::traced_task::{TASK, serve};

/// Measures the groups of these names, or all groups.
pub fn bench(names: &[&str]) -> Result<()> {
    let groups = chosen(names)?;
    if cfg!(debug_assertions) {
        return again_in_release_mode(names);
    }
    if let Some(why) = privilege::obstacle() {
        return Err(why.into());
    }
    dist::lay_out()?;
    bare_instance::sweep()?;
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

/// The readers, writers and traced tasks in this program are measured as well, and must be optimised.
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
    format!("unknown group '{name}'; known groups: {}", known.join(", "))
}

/// The machine that the figures depend on.
fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    format!("Linux {}, {cpus} CPUs, load {} before this run", kernel.trim(), load())
}

/// The load average of the last minute.
fn load() -> String {
    let loads = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    loads.split(' ').next().unwrap_or_default().to_owned()
}

//! `cargo xtask bench`: what the manager costs, against what the kernel alone takes on the same machine, at the same time.
//!
//! Each file here is one group of rows; a new one is added to [`GROUPS`]. Whatever comes out is printed, and judged, but
//! never fails a build: another machine is another figure.

mod bare;
mod crowd;
mod discovery;
mod memory;
mod samples;
mod session;
mod start;
mod stop;
mod table;

use std::fs;

use table::Row;

use crate::error::Result;
use crate::{dist, privilege};

/// Some rows that belong together.
struct Group {
    name: &'static str,
    about: &'static str,
    /// What the floor of each row is.
    floor: &'static str,
    measure: fn() -> Result<Vec<Row>>,
}

const GROUPS: &[Group] = &[discovery::GROUP, start::GROUP, stop::GROUP, crowd::GROUP, memory::GROUP];

/// Measures the groups of these names, or all.
pub fn bench(names: &[&str]) -> Result<()> {
    let groups = chosen(names)?;
    if let Some(why) = privilege::obstacle() {
        return Err(why.into());
    }
    dist::lay_out()?;
    bare::sweep()?;
    println!("{}", machine());
    for group in groups {
        println!("\n{}: {}", group.name, group.about);
        match (group.measure)() {
            Ok(rows) => print!("{}", table::render(group.floor, &rows)),
            Err(error) => println!("  could not be measured: {error}"),
        }
    }
    Ok(())
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
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned();
    format!("Linux {}, {cpus} CPUs, load {load} before this run", read("/proc/sys/kernel/osrelease").trim())
}

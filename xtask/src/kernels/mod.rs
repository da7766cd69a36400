//! `cargo xtask kernels`: boots other kernels under emulation, tries every hook there, and prints a table.
//!
//! What runs in a guest is in `guest/`. Downloads and file systems are kept in `target/kernels/`.

mod debian;
mod guest;
mod initramfs;
mod machine;
mod results;
mod tools;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;

use self::guest::Guest;
use self::initramfs::Initramfs;
use self::machine::Machine;
use self::results::Results;
use crate::error::{Explain, Result};
use crate::release::{self, Architecture};
use crate::{cargo, dist};

/// The oldest and the newest kernel of the supported Debian releases, and the one between them.
const SHORT: [&str; 3] = ["5.10", "6.1", "6.12"];
/// The kernels of the long form.
const LONG: [&str; 4] = ["5.10", "6.1", "6.12", debian::NEWEST];
/// Guests that run at a time. Each is emulated by one thread.
const AT_A_TIME: usize = 2;

/// What the command line asks for.
#[derive(Default)]
struct Options {
    is_short: bool,
    product: Option<PathBuf>,
    /// How the names of the guests to boot end.
    only: Option<String>,
    /// Passed to the guests on the kernel's command line; `guest/main.py` has the list.
    words: Vec<String>,
    versions: Vec<String>,
}

/// Tries the hooks on the kernels that `words` name.
pub fn kernels(words: &[&str]) -> Result<()> {
    let options = Options::of(words)?;
    let guests = options.guests()?;
    tools::check(guests.iter().map(|guest| guest.machine))?;
    let results = boot_all(&guests, options.products(&guests)?)?;
    results.print();
    if results.has_failures() { Err("a hook fails on one of the kernels".into()) } else { Ok(()) }
}

impl Options {
    fn of(words: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            match word {
                "--short" => options.is_short = true,
                "--product" => {
                    options.product = Some(words.next().ok_or("--product needs a directory")?.into())
                }
                "--only" => options.only = Some((*words.next().ok_or("--only needs a text")?).to_owned()),
                "--word" => options.words.push((*words.next().ok_or("--word needs a word")?).to_owned()),
                option if option.starts_with('-') => return Err(format!("unknown option {option}").into()),
                version => options.versions.push(version.to_owned()),
            }
        }
        Ok(options)
    }

    fn guests(&self) -> Result<Vec<Guest>> {
        let usual: &[&str] = if self.is_short { &SHORT } else { &LONG };
        let usual: Vec<String> = usual.iter().map(|series| (*series).to_owned()).collect();
        let versions = if self.versions.is_empty() { &usual } else { &self.versions };
        let guest = |machine| move |version: &String| Guest::new(version, machine).with_words(&self.words);
        let x86: Vec<Guest> = versions.iter().map(guest(Machine::X86_64)).collect();
        let mut guests = if self.is_short {
            x86
        } else {
            let arm = versions.iter().map(guest(Machine::Aarch64));
            x86.into_iter().chain(arm).flat_map(|guest| guest.variants()).collect()
        };
        guests.retain(|guest| self.only.as_ref().is_none_or(|only| guest.name().ends_with(only)));
        if guests.is_empty() { Err("no guest has such a name".into()) } else { Ok(guests) }
    }

    /// For each machine, the directory with the manager and its plugins.
    fn products(&self, guests: &[Guest]) -> Result<BTreeMap<Machine, PathBuf>> {
        let mut machines: Vec<Machine> = guests.iter().map(|guest| guest.machine).collect();
        machines.sort_unstable();
        machines.dedup();
        machines.into_iter().map(|machine| Ok((machine, self.product(machine)?))).collect()
    }

    /// A given one for this machine, or what is built now.
    fn product(&self, machine: Machine) -> Result<PathBuf> {
        if machine.architecture() != Architecture::ours()? {
            let directory = downloads().join(format!("product-{}", machine.debian()));
            return release::lay_out_in(&directory, machine.architecture());
        }
        if let Some(product) = &self.product {
            return product.canonicalize().explain(|| format!("cannot find {}", product.display()));
        }
        dist::lay_out()?;
        Ok(dist::manager().parent().unwrap_or(Path::new("/")).to_owned())
    }
}

/// Where downloads and file systems are kept.
fn downloads() -> PathBuf {
    cargo::root().join("target/kernels")
}

/// Boots the guests, some at a time.
fn boot_all(guests: &[Guest], products: BTreeMap<Machine, PathBuf>) -> Result<Results> {
    let initramfs = Initramfs::prepare(&downloads(), guests, products)?;
    let mut all = Results::default();
    for some in guests.chunks(AT_A_TIME) {
        let outcomes: Vec<Result<_>> = thread::scope(|scope| {
            let running: Vec<_> = some.iter().map(|guest| scope.spawn(|| guest.boot(&initramfs))).collect();
            running.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
        });
        for outcome in outcomes {
            all.add(outcome?);
        }
    }
    Ok(all)
}

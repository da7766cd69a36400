//! `cargo xtask kernels`: boots other kernels under emulation, tries every hook there, and prints a table.
//!
//! What runs in a guest is `guest.py`. Downloads and file systems are kept in `target/kernels/`.

mod debian;
mod guest;
mod initramfs;
mod machine;
mod results;
mod tools;

use std::path::{Path, PathBuf};
use std::thread;

use self::guest::Guest;
use self::initramfs::Initramfs;
use self::machine::Machine;
use self::results::Results;
use crate::error::{Explain, Result};
use crate::{cargo, dist};

/// The oldest and the newest kernel of the supported Debian releases, and the one between them.
const SHORT: [&str; 3] = ["5.10", "6.1", "6.12"];
/// Guests that run at a time. Each is emulated by one thread.
const AT_A_TIME: usize = 2;

/// What the command line asks for.
#[derive(Default)]
struct Options {
    is_short: bool,
    product: Option<PathBuf>,
    /// Passed to `guest.py` on the kernel's command line, which names them.
    words: Vec<String>,
    versions: Vec<String>,
}

/// Tries the hooks on the kernels that `words` name.
pub fn kernels(words: &[&str]) -> Result<()> {
    let options = Options::of(words)?;
    let product = options.product()?;
    let guests = options.guests();
    tools::check(guests.iter().map(|guest| guest.machine))?;
    let results = boot_all(&guests, &product)?;
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
                "--word" => options.words.push((*words.next().ok_or("--word needs a word")?).to_owned()),
                option if option.starts_with('-') => return Err(format!("unknown option {option}").into()),
                version => options.versions.push(version.to_owned()),
            }
        }
        Ok(options)
    }

    /// The directory with the manager and its plugins: a given one, or what is built now.
    fn product(&self) -> Result<PathBuf> {
        if let Some(product) = &self.product {
            let product = product.canonicalize().explain(|| format!("cannot find {}", product.display()))?;
            return Ok(product);
        }
        dist::lay_out()?;
        Ok(dist::manager().parent().unwrap_or(Path::new("/")).to_owned())
    }

    fn guests(&self) -> Vec<Guest> {
        let short: Vec<String> = SHORT.map(str::to_owned).into();
        let versions = if self.versions.is_empty() { &short } else { &self.versions };
        let guest = |version: &String| Guest::new(version, Machine::X86_64).with_words(&self.words);
        let usual: Vec<Guest> = versions.iter().map(guest).collect();
        if self.is_short { usual } else { usual.iter().flat_map(Guest::variants).collect() }
    }
}

/// Boots the guests, some at a time.
fn boot_all(guests: &[Guest], product: &Path) -> Result<Results> {
    let directory = cargo::root().join("target/kernels");
    let initramfs = Initramfs::prepare(&directory, guests, product)?;
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

//! The manager and the plugins, linked against an old glibc.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::Endianness;
use object::elf::DT_NEEDED;
use object::read::elf::ElfFile64;

use super::GLIBC;
use super::architecture::Architecture;
use super::tools::{Tools, output, run};
use crate::cargo::{self, Artifact};
use crate::dist;
use crate::error::{Explain, Result};

/// The parts of glibc before 2.34, and its dynamic linker. The binaries need no other library.
const GLIBC_LIBRARIES: [&str; 6] =
    ["libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1", "ld-linux-"];
/// Separates the words of this variable of cargo, which may contain blanks.
const SEPARATOR: &str = "\x1f";

/// What was built for an architecture.
pub struct Binaries {
    pub artifacts: Vec<Artifact>,
}

/// Builds the manager and all plugins for this architecture.
pub fn build(architecture: Architecture, tools: &Tools) -> Result<Binaries> {
    Ok(Binaries { artifacts: dist::build(&mut command(architecture, tools)?)? })
}

/// Builds a plugin of the tests for this machine in the same way; returns the file.
pub fn build_fixture(name: &str, tools: &Tools) -> Result<PathBuf> {
    let package = format!("fixture-{name}");
    // Together with the others, so that all crates are built with the same features, and not again.
    let artifacts = dist::build(command(Architecture::ours()?, tools)?.args(["--package", &package]))?;
    let fixture = artifacts.into_iter().find(|artifact| artifact.name == name);
    Ok(fixture.ok_or_else(|| format!("{package} is not a plugin"))?.file)
}

fn command(architecture: Architecture, tools: &Tools) -> Result<Command> {
    add_target(&architecture.target())?;
    let mut build = tools.zigbuild();
    build.args(["--locked", "--target", &format!("{}.{GLIBC}", architecture.target())]);
    build.env("CARGO_ENCODED_RUSTFLAGS", flags()?.join(SEPARATOR));
    Ok(build)
}

fn add_target(target: &str) -> Result<()> {
    let libraries = sysroot()?.join("lib/rustlib").join(target);
    match libraries.exists() {
        true => Ok(()),
        false => run(Command::new("rustup").args(["target", "add", target])),
    }
}

/// Replaces the paths of this machine by those that every machine gets.
fn flags() -> Result<Vec<String>> {
    // The standard library has such paths, unless its sources are installed.
    let standard_library = format!("/rustc/{}", compiler_commit()?);
    let replacements = ["cargo", ".", &standard_library];
    let replaced = paths_of_this_machine()?.into_iter().zip(replacements);
    Ok(replaced.map(|(path, new)| format!("--remap-path-prefix={}={new}", path.display())).collect())
}

/// Where the sources are: those of other crates, ours, and those of the standard library.
fn paths_of_this_machine() -> Result<[PathBuf; 3]> {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(env::home_dir()?.join(".cargo"))).ok_or("HOME is not set")?;
    Ok([cargo_home, cargo::root().to_owned(), sysroot()?.join("lib/rustlib/src/rust")])
}

fn sysroot() -> Result<PathBuf> {
    Ok(output(Command::new("rustc").args(["--print", "sysroot"]))?.trim().into())
}

fn compiler_commit() -> Result<String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    Ok(commit.ok_or("`rustc -vV` names no commit")?.to_owned())
}

impl Binaries {
    /// Checks that they run wherever there is this glibc, and contain no path of this machine.
    pub fn check(&self) -> Result<()> {
        self.artifacts.iter().try_for_each(|artifact| check(&artifact.file))
    }
}

fn check(file: &Path) -> Result<()> {
    let content = fs::read(file)?;
    let what = || format!("{} is not fit for a release", file.display());
    let binary = ElfFile64::<Endianness, _>::parse(&content[..]).explain(what)?;
    check_libraries(&binary).explain(what)?;
    check_symbol_versions(&binary).explain(what)?;
    check_paths(&content).explain(what)
}

fn check_libraries(binary: &ElfFile64<'_, Endianness>) -> Result<()> {
    let dynamic = binary.elf_dynamic_table()?;
    for entry in dynamic.iter().filter(|entry| entry.tag == DT_NEEDED) {
        let library = String::from_utf8_lossy(dynamic.string(entry)?);
        if !GLIBC_LIBRARIES.iter().any(|known| library.starts_with(known)) {
            return Err(format!("it needs {library}").into());
        }
    }
    Ok(())
}

fn check_symbol_versions(binary: &ElfFile64<'_, Endianness>) -> Result<()> {
    let (endian, data, sections) = (binary.endian(), binary.data(), binary.elf_section_table());
    let (mut libraries, strings) =
        sections.gnu_verneed(endian, data)?.ok_or("it needs no version of glibc")?;
    let strings = sections.strings(endian, data, strings)?;
    while let Some((_, mut versions)) = libraries.next()? {
        while let Some(version) = versions.next()? {
            let name = String::from_utf8_lossy(version.name(endian, strings)?);
            let number = name.strip_prefix("GLIBC_").and_then(numbers);
            if number.is_none_or(|number| Some(number) > numbers(GLIBC)) {
                return Err(format!("it needs {name}").into());
            }
        }
    }
    Ok(())
}

fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|number| number.parse().ok()).collect()
}

fn check_paths(content: &[u8]) -> Result<()> {
    for path in paths_of_this_machine()? {
        let bytes = path.as_os_str().as_encoded_bytes();
        if content.windows(bytes.len()).any(|window| window == bytes) {
            return Err(format!("it contains the path {}", path.display()).into());
        }
    }
    Ok(())
}

//! `cargo xtask bpf`: the eBPF programs of a plugin, built from their C.
//!
//! The objects are in the repository, so that nobody needs clang but who changes the programs. Beside them a manifest
//! says from which sources they were built, and by which clang. Where that clang is installed, a check builds anew and
//! compares; where another or none is, it compares what the manifest says of sources and objects.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::cargo;
use crate::error::{Explain, Result};

/// The word that has [`bpf`] change nothing.
pub const CHECK: &str = "--check";

/// Where sources, objects and manifest lie.
const DIRECTORY: &str = "plugins/ebpf/bpf";
const MANIFEST: &str = "objects.txt";
const SOURCE: &str = ".bpf.c";
const OBJECT: &str = ".o";

/// CPU version 3 is in every kernel since 5.1, and has 32-bit jumps. The directory's name is in the object: every checkout
/// should make the same.
const FLAGS: [&str; 9] =
    ["-g", "-fdebug-compilation-dir=.", "-O2", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3", "-c"];

const PACKAGES: &str = "apt-get install clang llvm libbpf-dev";

/// Builds all objects; with [`CHECK`] only says whether they are what their sources make.
pub fn bpf(words: &[&str]) -> Result<()> {
    match words {
        [] => build(),
        [CHECK] => check(),
        _ => Err(format!("`cargo xtask bpf` takes {CHECK}, or nothing").into()),
    }
}

fn build() -> Result<()> {
    let clang = clang().ok_or(format!("clang is needed: {PACKAGES}"))?;
    for name in names()? {
        compile(&name, &directory().join(name.clone() + OBJECT))?;
    }
    let manifest = directory().join(MANIFEST);
    fs::write(&manifest, describe(&clang)?).explain(|| format!("cannot write {}", manifest.display()))
}

fn check() -> Result<()> {
    let manifest = fs::read_to_string(directory().join(MANIFEST)).unwrap_or_default();
    let built_by = manifest.lines().next().unwrap_or_default();
    if describe(built_by)? != manifest {
        return Err(stale("the manifest"));
    }
    match clang() {
        None => println!("clang is not installed; sources and objects are as the manifest says"),
        Some(here) if here != built_by => {
            println!("{here} is not {built_by}; sources and objects are as the manifest says");
        }
        Some(here) => {
            compare()?;
            println!("{here} makes the same objects");
        }
    }
    Ok(())
}

fn compare() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    for name in names()? {
        let object = name.clone() + OBJECT;
        compile(&name, &scratch.path().join(&object))?;
        if fs::read(scratch.path().join(&object))? != fs::read(directory().join(&object))? {
            return Err(stale(&object));
        }
    }
    Ok(())
}

fn stale(what: &str) -> Box<dyn std::error::Error + Send + Sync> {
    format!("{DIRECTORY}: {what} is not of these sources; run `cargo xtask bpf` and commit what it makes")
        .into()
}

/// The manifest as it should be: who built, and the hashes of all sources and objects.
fn describe(clang: &str) -> Result<String> {
    let mut manifest = format!("{clang}\n");
    for file in files()? {
        let hash = Sha256::digest(fs::read(directory().join(&file))?);
        let hash = hash.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        writeln!(manifest, "{hash}  {file}")?;
    }
    Ok(manifest)
}

fn compile(name: &str, object: &Path) -> Result<()> {
    // Names of files are in the object as well: relative, for the same reason.
    let source = name.to_owned() + SOURCE;
    // The kernel's headers for programs are by machine, though they say the same of what is used here.
    let include = format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    let mut clang = Command::new("clang");
    clang.args(FLAGS).args([&include, &source, "-o"]).arg(object).current_dir(directory());
    run(&mut clang)?;
    // What is for debuggers; the description of types stays.
    run(Command::new("llvm-strip").arg("--strip-debug").arg(object))
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().explain(|| format!("cannot start {program} ({PACKAGES})"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} failed ({status})").into()) }
}

/// The compiler's name and major version; what is behind it does not change what it makes.
fn clang() -> Option<String> {
    let output = Command::new("clang").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_once("clang version ")?.1;
    Some(format!("clang {}", version.split('.').next()?))
}

fn directory() -> PathBuf {
    cargo::root().join(DIRECTORY)
}

/// Of the objects, without their endings.
fn names() -> Result<Vec<String>> {
    Ok(files()?.iter().filter_map(|file| file.strip_suffix(SOURCE)).map(str::to_owned).collect())
}

/// All but the manifest, sorted.
fn files() -> Result<Vec<String>> {
    let entries = fs::read_dir(directory()).explain(|| format!("cannot list {DIRECTORY}"))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut files: Vec<String> = names.collect::<Result<_>>()?;
    files.retain(|file| file != MANIFEST && !file.starts_with('.'));
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_objects_in_the_repository_are_of_the_sources_in_it() {
        let manifest = fs::read_to_string(directory().join(MANIFEST)).unwrap();
        assert_eq!(describe(manifest.lines().next().unwrap()).unwrap(), manifest, "run `cargo xtask bpf`");
    }
}

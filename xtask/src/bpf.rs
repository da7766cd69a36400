//! `cargo xtask bpf`: builds the eBPF programs of a plugin from their C sources.
//!
//! The objects are in the repository, so that clang is needed only to change them. A manifest beside them has the hashes of
//! all sources and objects, and the version of clang. `--check` compares these hashes; where that version of clang is
//! installed, it also builds the objects again and compares them.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::cargo;
use crate::error::{Explain, Result};

/// The argument with which [`bpf`] changes nothing.
pub const CHECK: &str = "--check";

/// The sources, the objects and the manifest.
const DIRECTORY: &str = "plugins/ebpf/bpf";
/// The headers that eBPF hooks share. Relative to [`DIRECTORY`] when compiling: paths are part of the object.
const HEADERS: &str = "plugin-api/ebpf/bpf";
const INCLUDE_HEADERS: &str = "-I../../../plugin-api/ebpf/bpf";
const MANIFEST: &str = "objects.txt";
const SOURCE: &str = ".bpf.c";
const OBJECT: &str = ".o";
/// Each source gives two objects: one for current kernels, and one for older ones, with this suffix and this flag.
const BUILDS: [(&str, Option<&str>); 2] = [("", None), ("-older", Some("-DOLDER"))];

/// CPU version 3 is supported by every kernel since 5.1, and has 32-bit jumps. The directory is recorded in the object, which
/// must not depend on the place of the checkout.
const FLAGS: [&str; 9] =
    ["-g", "-fdebug-compilation-dir=.", "-O2", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3", "-c"];

const PACKAGES: &str = "apt-get install clang llvm libbpf-dev";

/// Builds all objects; with [`CHECK`] only checks that they are up to date.
pub fn bpf(words: &[&str]) -> Result<()> {
    match words {
        [] => build(),
        [CHECK] => check(),
        _ => Err(format!("`cargo xtask bpf` takes {CHECK} or nothing").into()),
    }
}

fn build() -> Result<()> {
    let clang = clang().ok_or(format!("clang is needed: {PACKAGES}"))?;
    compile_all(&directory())?;
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
        None => println!("clang is not installed; sources and objects match the manifest"),
        Some(here) if here != built_by => {
            println!("{here} is not {built_by}; sources and objects match the manifest");
        }
        Some(here) => {
            compare()?;
            println!("{here} builds the same objects");
        }
    }
    Ok(())
}

fn compare() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    for object in compile_all(scratch.path())? {
        if fs::read(scratch.path().join(&object))? != fs::read(directory().join(&object))? {
            return Err(stale(&object));
        }
    }
    Ok(())
}

fn stale(what: &str) -> Box<dyn std::error::Error + Send + Sync> {
    format!("{DIRECTORY}: {what} does not match the sources; run `cargo xtask bpf` and commit the result")
        .into()
}

/// The manifest as it should be: the compiler, and the hashes of all sources and objects.
fn describe(clang: &str) -> Result<String> {
    let mut manifest = format!("{clang}\n");
    for folder in [DIRECTORY, HEADERS] {
        for file in files(folder)? {
            let hash = Sha256::digest(fs::read(cargo::root().join(folder).join(&file))?);
            let hash = hash.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            writeln!(manifest, "{hash}  {folder}/{file}")?;
        }
    }
    Ok(manifest)
}

/// Compiles all sources; returns the names of the objects.
fn compile_all(to: &Path) -> Result<Vec<String>> {
    let mut objects = Vec::new();
    for name in names()? {
        for (suffix, flag) in BUILDS {
            let object = format!("{name}{suffix}{OBJECT}");
            compile(&name, flag, &to.join(&object))?;
            objects.push(object);
        }
    }
    Ok(objects)
}

fn compile(name: &str, flag: Option<&str>, object: &Path) -> Result<()> {
    // File names are recorded in the object, too: relative, for the same reason.
    let source = name.to_owned() + SOURCE;
    // The kernel's headers are installed by architecture; what is used of them is the same on all.
    let include = format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    let mut clang = Command::new("clang");
    clang
        .args(FLAGS)
        .args(flag)
        .args([INCLUDE_HEADERS, &include, &source, "-o"])
        .arg(object)
        .current_dir(directory());
    run(&mut clang)?;
    // Removes the debug information, but keeps the type information (BTF).
    run(Command::new("llvm-strip").arg("--strip-debug").arg(object))
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().explain(|| format!("cannot start {program} ({PACKAGES})"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} failed ({status})").into()) }
}

/// The compiler's name and major version; the minor version does not change its output.
fn clang() -> Option<String> {
    let output = Command::new("clang").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_once("clang version ")?.1;
    Some(format!("clang {}", version.split('.').next()?))
}

fn directory() -> PathBuf {
    cargo::root().join(DIRECTORY)
}

/// The names of the sources, without suffix.
fn names() -> Result<Vec<String>> {
    Ok(files(DIRECTORY)?.iter().filter_map(|file| file.strip_suffix(SOURCE)).map(str::to_owned).collect())
}

/// All files of a folder but the manifest, sorted.
fn files(folder: &str) -> Result<Vec<String>> {
    let entries = fs::read_dir(cargo::root().join(folder)).explain(|| format!("cannot list {folder}"))?;
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
    fn committed_objects_match_their_sources() {
        let manifest = fs::read_to_string(directory().join(MANIFEST)).unwrap();
        assert_eq!(describe(manifest.lines().next().unwrap()).unwrap(), manifest, "run `cargo xtask bpf`");
    }
}

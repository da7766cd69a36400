//! `cargo xtask bpf`: builds the eBPF programs of the plugins from their C sources.
//!
//! The objects are in the repository, so that clang is needed only to change them. A manifest beside those of a plugin has the hashes of
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

/// The folders of plugins, each with the sources, the objects and the manifest.
const DIRECTORIES: [&str; 2] = ["plugins/ebpf/bpf", "plugins/ftrace/bpf"];
/// The headers that eBPF hooks share. Relative to the folder of the plugin when compiling: paths are part of the object.
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
    for directory in DIRECTORIES {
        compile_all(directory, &path(directory))?;
        let manifest = path(directory).join(MANIFEST);
        let text = describe(directory, &clang)?;
        fs::write(&manifest, text).explain(|| format!("cannot write {}", manifest.display()))?;
    }
    Ok(())
}

fn check() -> Result<()> {
    DIRECTORIES.into_iter().try_for_each(check_one)
}

fn check_one(directory: &str) -> Result<()> {
    let manifest = fs::read_to_string(path(directory).join(MANIFEST)).unwrap_or_default();
    let built_by = manifest.lines().next().unwrap_or_default();
    if describe(directory, built_by)? != manifest {
        return Err(stale(directory, "the manifest"));
    }
    match clang() {
        None => println!("{directory}: clang is not installed; sources and objects match the manifest"),
        Some(here) if here != built_by => {
            println!("{directory}: {here} is not {built_by}; sources and objects match the manifest");
        }
        Some(here) => {
            compare(directory)?;
            println!("{directory}: {here} builds the same objects");
        }
    }
    Ok(())
}

fn compare(directory: &str) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    for object in compile_all(directory, scratch.path())? {
        if fs::read(scratch.path().join(&object))? != fs::read(path(directory).join(&object))? {
            return Err(stale(directory, &object));
        }
    }
    Ok(())
}

fn stale(directory: &str, what: &str) -> Box<dyn std::error::Error + Send + Sync> {
    format!("{directory}: {what} does not match the sources; run `cargo xtask bpf` and commit the result")
        .into()
}

/// The manifest as it should be: the compiler, and the hashes of all sources and objects.
fn describe(directory: &str, clang: &str) -> Result<String> {
    let mut manifest = format!("{clang}\n");
    for folder in [directory, HEADERS] {
        for file in files(folder)? {
            let hash = Sha256::digest(fs::read(path(folder).join(&file))?);
            let hash = hash.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            writeln!(manifest, "{hash}  {folder}/{file}")?;
        }
    }
    Ok(manifest)
}

/// Compiles all sources; returns the names of the objects.
fn compile_all(directory: &str, to: &Path) -> Result<Vec<String>> {
    let mut objects = Vec::new();
    for name in names(directory)? {
        for (suffix, flag) in BUILDS {
            let object = format!("{name}{suffix}{OBJECT}");
            compile(directory, &name, flag, &to.join(&object))?;
            objects.push(object);
        }
    }
    Ok(objects)
}

fn compile(directory: &str, name: &str, flag: Option<&str>, object: &Path) -> Result<()> {
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
        .current_dir(path(directory));
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

fn path(folder: &str) -> PathBuf {
    cargo::root().join(folder)
}

/// The names of the sources, without suffix.
fn names(directory: &str) -> Result<Vec<String>> {
    Ok(files(directory)?.iter().filter_map(|file| file.strip_suffix(SOURCE)).map(str::to_owned).collect())
}

/// All files of a folder but the manifest, sorted.
fn files(folder: &str) -> Result<Vec<String>> {
    let entries = fs::read_dir(path(folder)).explain(|| format!("cannot list {folder}"))?;
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
        for directory in DIRECTORIES {
            let manifest = fs::read_to_string(path(directory).join(MANIFEST)).unwrap();
            let described = describe(directory, manifest.lines().next().unwrap()).unwrap();
            assert_eq!(described, manifest, "run `cargo xtask bpf`");
        }
    }
}

//! Programs and libraries in C.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Compiles a program or library in this directory, with these words for the compiler.
pub fn compile_c(directory: &Path, source: &str, words: &[&str]) {
    let file = directory.join("source.c");
    fs::write(&file, source).expect("the test owns it");
    run(Command::new("cc").arg(&file).args(words).current_dir(directory));
}

/// Removes symbols from a file in this directory, with these words for objcopy(1).
pub fn strip(directory: &Path, file: &str, words: &[&str]) {
    run(Command::new("objcopy").args(words).arg(file).current_dir(directory));
}

fn run(command: &mut Command) {
    assert!(command.status().expect("Rust needs a C compiler, too").success(), "{command:?}");
}

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::build_directory;
use crate::process::spawn;

/// A program whose functions are traced. Its source documents the commands that it takes.
const SOURCE: &str = include_str!("program/called.rs");
/// A library that the program loads on the command `load`.
const LIBRARY: &str = include_str!("program/library.rs");

/// How a [`Program`] is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// A position-independent executable with shared libraries.
    Usual,
    /// At a fixed address, without shared libraries.
    Static,
    /// Without the symbol table `.symtab`.
    Stripped,
    /// Without any symbols at all.
    Bare,
    /// With a section that only Go's linker creates.
    GoLike,
    /// A shared library without `.symtab`.
    Library,
}

/// The running program. Dropping it kills it.
pub struct Program {
    process: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    id: u32,
}

impl Program {
    /// The executable or the library, which is built if it is older than the tests.
    pub fn built(build: Build) -> PathBuf {
        // Only one test builds at a time, in this process or another.
        let directory = build_directory().join("traced-programs");
        fs::create_dir_all(&directory).expect("a directory can be made");
        let alone = File::open(&directory).expect("the test owns it");
        alone.lock().expect("a directory can be locked");
        let program = directory.join(format!("{build:?}").to_lowercase());
        if !is_newer(&program, &std::env::current_exe().expect("this executable has a path")) {
            compile(build, &program);
        }
        program
    }

    /// Runs the position-independent build.
    pub fn start() -> Self {
        Self::run(&mut Command::new(Self::built(Build::Usual)))
    }

    /// Runs it with this command.
    pub fn run(command: &mut Command) -> Self {
        let mut process = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let commands = process.stdin.take().expect("it is a pipe");
        let answers = BufReader::new(process.stdout.take().expect("it is a pipe")).lines();
        let mut program = Self { id: process.id(), process, commands, answers };
        program.answer();
        program
    }

    /// Its process id. Where another command starts it, that is the id of that command.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Sends a command and returns the answer.
    #[track_caller]
    pub fn send(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").expect("the program reads commands");
        self.answer()
    }

    /// Makes it call `traced_function` this many times.
    #[track_caller]
    pub fn calls(&mut self, count: usize) {
        self.send(&format!("call {count} 7 9 text"));
    }

    #[track_caller]
    fn answer(&mut self) -> String {
        self.answers.next().expect("the program answers").expect("it is text")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn is_newer(file: &Path, than: &Path) -> bool {
    let modified = |file: &Path| file.metadata().and_then(|metadata| metadata.modified()).ok();
    modified(file) > modified(than)
}

fn compile(build: Build, program: &Path) {
    let (source, flags): (&str, &[&str]) = match build {
        Build::Usual => (SOURCE, &[]),
        Build::Static => (SOURCE, &["-Ctarget-feature=+crt-static", "-Crelocation-model=static"]),
        Build::Stripped => (SOURCE, &["-Cstrip=symbols", "-Clink-arg=-Wl,--export-dynamic"]),
        Build::Bare => (SOURCE, &["-Cstrip=symbols", "-Ctarget-feature=+crt-static"]),
        Build::GoLike => (SOURCE, &["--cfg=like_go"]),
        Build::Library => (LIBRARY, &["--crate-type=cdylib", "-Cstrip=symbols"]),
    };
    let input = program.with_extension("rs");
    fs::write(&input, source).expect("a source can be written");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--edition=2024", "--crate-name=called", "-Copt-level=1"]).args(flags);
    let status = command.arg("-o").arg(program).arg(&input).status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?}");
}

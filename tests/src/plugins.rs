use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use crate::built;

/// A plugins directory.
pub struct Plugins {
    directory: TempDir,
}

impl Plugins {
    /// A directory without any plugin.
    pub fn none() -> Self {
        Self { directory: public_directory() }
    }

    /// A directory with these plugins, with their own file names.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().fold(Self::none(), |plugins, name| plugins.plugin(name, &format!("lib{name}.so")))
    }

    /// The plugin `synthetic`, as `x.so`, with a library that it brings along.
    pub fn with_a_library() -> Self {
        let plugins =
            Self::none().directory("libs").library("libs/libbrought.so", Some("libbrought.so"), &[]);
        plugins.linked("x.so", &["-Llibs", "-lbrought", "-Wl,-rpath,$ORIGIN/libs"])
    }

    /// Adds a copy of the plugin, as `file`.
    pub fn plugin(self, name: &str, file: &str) -> Self {
        let library = built(format!("lib{name}.so"));
        fs::copy(library, self.path_of(file)).expect("a plugin can be copied");
        // The umask of the build may have made it writable for the group.
        self.with_mode(file, 0o755)
    }

    /// Adds a copy of the plugin as `file`, with some bytes changed.
    pub fn changed(self, name: &str, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut library = fs::read(built(format!("lib{name}.so"))).expect("a plugin can be read");
        change(&mut library);
        self.file(file, library)
    }

    /// Adds the first half of the plugin, as `file`.
    pub fn half_of(self, name: &str, file: &str) -> Self {
        let library = fs::read(built(format!("lib{name}.so"))).expect("a plugin can be read");
        self.file(file, &library[..library.len() / 2])
    }

    /// Adds a library with the C function `brought`, which has this name in itself (`DT_SONAME`), if any.
    pub fn library(self, file: &str, name: Option<&str>, words: &[&str]) -> Self {
        let name = name.map(|name| format!("-Wl,-soname,{name}"));
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-x", "c", "-", "-x", "none", "-o"]).arg(self.path_of(file));
        compiler.args(name).args(words).current_dir(self.path());
        compile(&mut compiler, "int brought(void) { return 1; }\n");
        self.with_mode(file, 0o755)
    }

    /// Adds the plugin `synthetic` as `file`, linked with these words for the linker, such as the path of a library.
    pub fn linked(self, file: &str, words: &[&str]) -> Self {
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-s", "-Wl,--gc-sections", "-Wl,--no-as-needed", "-o"]);
        compiler.arg(self.path_of(file)).arg(format!("-Wl,-u,{HEADER}")).arg(built("libsynthetic.a"));
        compiler.args(words).args(["-lgcc_s", "-lpthread", "-lm", "-ldl"]).current_dir(self.path());
        compile(&mut compiler, "");
        self.with_mode(file, 0o755)
    }

    /// Sets the mode of the file.
    pub fn with_mode(self, file: &str, mode: u32) -> Self {
        fs::set_permissions(self.path_of(file), fs::Permissions::from_mode(mode)).expect("the test owns it");
        self
    }

    /// Changes the owner of the file, or of the link itself.
    pub fn owned_by(self, file: &str, user: u32) -> Self {
        lchown(self.path_of(file), Some(user), Some(user)).expect("root can change the owner");
        self
    }

    /// Adds a file with this content.
    pub fn file(self, file: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.path_of(file), content).expect("a file can be written");
        self.with_mode(file, 0o644)
    }

    /// Adds a FIFO, which blocks any process that opens it.
    pub fn fifo(self, file: &str) -> Self {
        mkfifo(&self.path_of(file), Mode::S_IRWXU).expect("a FIFO can be made");
        self
    }

    /// Adds a directory.
    pub fn directory(self, name: &str) -> Self {
        fs::create_dir(self.path_of(name)).expect("a directory can be made");
        self.with_mode(name, 0o755)
    }

    /// Adds a symbolic link.
    pub fn link(self, file: &str, target: impl AsRef<Path>) -> Self {
        symlink(target, self.path_of(file)).expect("a link can be made");
        self
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The path of this file in it.
    pub fn path_of(&self, file: &str) -> PathBuf {
        self.path().join(file)
    }
}

/// The symbol that every plugin exports.
const HEADER: &str = "_1as_0lib_1header_0root_bmodule_bloader";

fn compile(compiler: &mut Command, source: &str) {
    let mut running = compiler.stdin(Stdio::piped()).spawn().expect("there is a C compiler");
    running.stdin.take().expect("it is a pipe").write_all(source.as_bytes()).expect("it reads its source");
    assert!(running.wait().expect("it ends").success(), "{compiler:?}");
}

/// A temporary directory that every user can read, and only its owner can write to.
pub(crate) fn public_directory() -> TempDir {
    let directory =
        tempfile::Builder::new().prefix("trace-hook-test-").tempdir().expect("a directory can be made");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("the test owns it");
    directory
}

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::call::NOBODY;
use crate::leak_check::LeakCheck;
use crate::plugins::public_directory;
use crate::{Call, Plugins, built};

/// An installation of the manager with its own plugins and run directory.
///
/// When it is dropped, it checks that its calls have left nothing in the kernel, and no file but unread output and summaries.
pub struct Manager {
    executable: PathBuf,
    plugins: Plugins,
    run_directory: TempDir,
    _public: Option<TempDir>,
    leak_check: LeakCheck,
}

impl Manager {
    /// A manager with these plugins.
    pub fn with(plugins: Plugins) -> Self {
        Self {
            executable: built("manager"),
            plugins,
            run_directory: public_directory(),
            _public: None,
            leak_check: LeakCheck::default(),
        }
    }

    /// A manager with these plugins that any user can call.
    pub fn for_everyone(plugins: Plugins) -> Self {
        let public = public_directory();
        let mut manager = Self::with(plugins);
        manager.executable = public.path().join("manager");
        fs::copy(built("manager"), &manager.executable).expect("an executable can be copied");
        manager._public = Some(public);
        chown(manager.run_directory(), Some(NOBODY), Some(NOBODY)).expect("root can change the owner");
        manager
    }

    /// A call with these arguments.
    pub fn call<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Call<'_> {
        self.bare_call().word("--plugins").word(self.plugins.path()).words(words)
    }

    /// A call of `--run` with these arguments for the hook, in one string.
    pub fn run(&self, hook: &str, arguments: impl AsRef<str>) -> Call<'_> {
        self.call(["--run", hook, "--args", arguments.as_ref()])
    }

    /// A call without any arguments, not even `--plugins`.
    pub fn bare_call(&self) -> Call<'_> {
        self.call_as(&self.executable)
    }

    /// A call by another path of the executable.
    pub fn call_as(&self, executable: impl AsRef<OsStr>) -> Call<'_> {
        Call::new(self, executable)
    }

    /// The executable.
    pub fn executable(&self) -> &Path {
        &self.executable
    }

    /// The plugins.
    pub fn plugins(&self) -> &Plugins {
        &self.plugins
    }

    /// The run directory.
    pub fn run_directory(&self) -> &Path {
        self.run_directory.path()
    }

    /// The files of sessions that are running, or that died and were not cleaned up. Unread output and summaries, which stay
    /// until `--clear`, are not included.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = files_below(self.run_directory());
        files.retain(|file| !is_unread_output(file) && !is_summary(file));
        files
    }

    /// The files with the summaries of sessions whose events were not all delivered.
    pub fn summaries(&self) -> Vec<PathBuf> {
        let mut files = files_below(self.run_directory());
        files.retain(|file| is_summary(file));
        files
    }

    /// The files with the unread output of sessions.
    pub fn unread_output(&self) -> Vec<PathBuf> {
        let mut files = files_below(self.run_directory());
        files.retain(|file| is_unread_output(file));
        files
    }

    /// The running processes of its calls. They are recognised by the plugins directory in their command line, which they
    /// have until they execute another program.
    pub fn processes(&self) -> Vec<u32> {
        let directory = self.plugins.path().as_os_str().as_encoded_bytes();
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.split(|byte| *byte == 0).any(|word| word == directory)
        })
        .collect()
    }

    pub(crate) fn prepare(&self, command: &mut Command) {
        command.env("TRACER_RUN_PATH", self.run_directory());
        for unset in ["TRACER_PLUGINS_PATH", "TRACER_PROCFS_PATH", "TRACER_SYSFS_PATH", "RUST_LOG"] {
            command.env_remove(unset);
        }
    }

    pub(crate) fn leak_check(&self) -> LeakCheck {
        self.leak_check.clone()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let (instances, files) = (self.leak_check.remove(), self.files());
        if !std::thread::panicking() {
            assert_eq!(instances, None, "the number of objects left in the kernel, and the name of one");
            assert!(files.is_empty(), "left in the run directory: {files:?}");
        }
    }
}

/// Unread output is a regular file in the place of the trace file.
pub(crate) fn is_unread_output(file: &Path) -> bool {
    let is_regular = file.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
    is_regular && file.extension().is_some_and(|extension| extension == "trace")
}

fn is_summary(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "summary")
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path()),
            _ => vec![entry.path()],
        })
        .collect()
}

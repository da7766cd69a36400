//! The program of a command that is about to be executed, and the libraries that it loads when it starts, found as the dynamic
//! loader finds them (ld.so(8)).

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::iter::successors;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use trace_linkage::{Linkage, search_directory};
use trace_tasks::Pid;

use super::candidate::Candidate;
use super::loader_cache::LoaderCache;
use super::process_files::ProcessFiles;

/// How many scripts can be interpreted by one another (execve(2)).
const MOST_SCRIPTS: usize = 5;

/// A limit for libraries that need each other without end.
const MOST_LIBRARIES: usize = 1000;

/// Where libraries are that are in no list: those of glibc on machines of all kinds, and of musl.
const USUAL_DIRECTORIES: [&str; 5] = ["/lib64", "/usr/lib64", "/lib", "/usr/local/lib", "/usr/lib"];

/// The files of a command with code that runs from its start.
#[derive(Debug)]
pub struct CommandFiles {
    /// The process that will execute it.
    pub process: Pid,
    /// The program; for a script, its interpreter.
    pub program: PathBuf,
    pub libraries: Vec<PathBuf>,
}

/// Finds libraries for the process that will execute the command.
struct Loader<'a> {
    files: &'a ProcessFiles,
    process: Pid,
    /// Where relative paths begin.
    directory: PathBuf,
    /// `LD_LIBRARY_PATH`
    library_path: Vec<PathBuf>,
    cache: LoaderCache,
}

/// A program or library.
struct Linked {
    path: PathBuf,
    linkage: Linkage,
    /// The directories in which those that need it have libraries looked for, and it does as well.
    inherited: Vec<PathBuf>,
}

impl CommandFiles {
    /// Those of the program that this process is about to execute, with the environment that it has now.
    pub fn find(program: &Path, process: Pid, files: &ProcessFiles, procfs: &Path) -> Self {
        let process_directory = procfs.join(process.to_string());
        let environment = fs::read(process_directory.join("environ")).unwrap_or_default();
        let mut loader = Loader {
            files,
            process,
            directory: fs::read_link(process_directory.join("cwd")).unwrap_or_default(),
            library_path: Vec::new(),
            cache: LoaderCache::read(),
        };
        loader.library_path = loader.directories(variable(&environment, b"LD_LIBRARY_PATH"), Path::new("/"));
        let program = loader.interpreter(program);
        let libraries = loader.libraries(&program, variable(&environment, b"LD_PRELOAD"));
        Self { process, program, libraries }
    }
}

impl Loader<'_> {
    /// What the kernel runs for this file.
    fn interpreter(&self, program: &Path) -> PathBuf {
        let interpreter = |script: &PathBuf| {
            let file = Candidate::InRootOf(self.process, script);
            let binary = self.files.open(file).ok()?;
            self.files.read(file, binary, |binary| binary.interpreter())?
        };
        let programs = successors(Some(program.to_owned()), interpreter).take(MOST_SCRIPTS);
        programs.last().unwrap_or_default()
    }

    /// The libraries that a program loads, with these before all others.
    fn libraries(&self, program: &Path, preloaded: &[u8]) -> Vec<PathBuf> {
        let (mut found, mut known) = (Vec::new(), HashSet::new());
        let mut pending = Vec::from_iter(self.linked(program.to_owned(), Vec::new()));
        if let Some(program) = pending.first_mut() {
            let names = preloaded.split(|byte| b" :".contains(byte)).filter(|name| !name.is_empty());
            program.linkage.needed.extend(names.map(|name| OsStr::from_bytes(name).to_owned()));
        }
        while let Some(linked) = pending.pop() {
            for name in &linked.linkage.needed {
                if known.len() < MOST_LIBRARIES && known.insert(name.clone()) {
                    let located = self.locate(name, &linked);
                    found.extend(located.iter().map(|library| library.path.clone()));
                    pending.extend(located);
                }
            }
        }
        found
    }

    /// The library of this name that a program or library loads. The processor may decide between several.
    fn locate(&self, name: &OsStr, needed_by: &Linked) -> Vec<Linked> {
        let Linkage { rpath, runpath, .. } = &needed_by.linkage;
        let origin = needed_by.path.parent().unwrap_or(Path::new("/"));
        let listed = |list: &Option<OsString>| {
            self.directories(list.as_deref().unwrap_or_default().as_bytes(), origin)
        };
        let rpath = match runpath {
            None => [listed(rpath), needed_by.inherited.clone()].concat(),
            Some(_) => Vec::new(),
        };
        let linked = |path| self.linked(path, rpath.clone());
        if name.as_bytes().contains(&b'/') {
            return Vec::from_iter(linked(self.directory.join(name)));
        }
        let first_of = |directories: Vec<PathBuf>| {
            Vec::from_iter(directories.iter().find_map(|directory| linked(directory.join(name))))
        };
        let mut found = first_of([rpath.clone(), self.library_path.clone(), listed(runpath)].concat());
        if found.is_empty() {
            found = self.cache.paths(name).filter_map(linked).collect();
        }
        if found.is_empty() {
            found = first_of(USUAL_DIRECTORIES.map(PathBuf::from).to_vec());
        }
        found
    }

    /// The directories of a search path of a file in the directory `origin`.
    fn directories(&self, list: &[u8], origin: &Path) -> Vec<PathBuf> {
        let elements = list.split(|byte| b":;".contains(byte)).filter(|_| !list.is_empty());
        let directories = elements.filter_map(|element| search_directory(OsStr::from_bytes(element), origin));
        directories.map(|directory| self.directory.join(directory)).collect()
    }

    /// The program or library at this path, if there is one for this machine.
    fn linked(&self, path: PathBuf, inherited: Vec<PathBuf>) -> Option<Linked> {
        let file = Candidate::InRootOf(self.process, &path);
        let binary = self.files.open(file).ok()?;
        let linkage = self.files.read(file, binary, |binary| binary.linkage())??;
        Some(Linked { path, linkage, inherited })
    }
}

/// The value of a variable in the environment of a process (proc_pid_environ(5)).
fn variable<'a>(environment: &'a [u8], name: &[u8]) -> &'a [u8] {
    let mut definitions = environment.split(|byte| *byte == 0);
    definitions.find_map(|text| text.strip_prefix(name)?.strip_prefix(b"=")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::process::Command;

    use trace_hook_api::Environment;
    use tracefs_session::StopFlag;

    use super::super::pace::Pace;
    use super::super::process_files::blocking_calls;

    fn find(program: &Path) -> CommandFiles {
        let environment = Environment::default();
        let calls = blocking_calls(&environment, Pace::Thorough);
        let process = std::process::id();
        let files = ProcessFiles::of(vec![process], &environment, calls, Pace::Thorough, StopFlag::default())
            .unwrap();
        CommandFiles::find(program, process, &files, &environment.procfs)
    }

    /// The files that the dynamic loader says it loads.
    fn listed_by_loader(program: &Path) -> BTreeSet<PathBuf> {
        let printed = Command::new("ldd").arg(program).output().unwrap().stdout;
        let printed = String::from_utf8(printed).unwrap();
        let paths =
            printed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
        paths.map(|path| fs::canonicalize(path).unwrap()).collect()
    }

    #[test]
    fn libraries_are_found_as_the_dynamic_loader_finds_them() {
        for program in ["/usr/bin/env", "/bin/sh", "/usr/bin/cc", "/proc/self/exe"] {
            let program = fs::canonicalize(program).unwrap();
            let found = find(&program).libraries;
            let found: BTreeSet<PathBuf> = found.iter().map(|path| fs::canonicalize(path).unwrap()).collect();
            let missing: Vec<_> = listed_by_loader(&program).difference(&found).cloned().collect();
            assert!(missing.is_empty() && !found.is_empty(), "{}: {missing:?}", program.display());
        }
    }

    #[test]
    fn a_script_is_run_by_its_interpreter() {
        let directory = tempfile::tempdir().unwrap();
        let script = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let first = script("first", "#! /bin/sh -e\nexit");
        let second = script("second", &format!("#!{}", first.display()));
        for path in [first, second] {
            assert_eq!(find(&path).program, Path::new("/bin/sh"));
        }
        let endless = directory.path().join("endless");
        fs::write(&endless, format!("#!{}\n", endless.display())).unwrap();
        assert_eq!(find(&endless).libraries, <[PathBuf; 0]>::default());
    }

    #[test]
    fn variables_are_found_by_their_whole_name() {
        let environment = b"LD_LIBRARY_PATHS=no\0LD_LIBRARY_PATH=/a:/b\0";
        assert_eq!(variable(environment, b"LD_LIBRARY_PATH"), b"/a:/b");
        assert_eq!(variable(environment, b"LD_PRELOAD"), b"");
    }
}

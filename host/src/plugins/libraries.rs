//! The libraries that a plugin brings along, beside those of the system.
//!
//! They run as the plugin does, so they are found and checked before anything is loaded. The worker loads them before the
//! plugin, whose needs they then meet by name. The dynamic loader itself looks for libraries in the system's directories
//! and in those of `LD_LIBRARY_PATH` only.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use trace_linkage::{Linkage, search_directory};

use super::check_before_loading::{Trust, check_directory, check_library, open_trusted};
use super::protected_file::ProtectedFile;
use crate::worker::LibraryCode;

/// A limit for libraries that need each other without end.
const MOST_LIBRARIES: usize = 256;

/// A library that a plugin brings along.
pub struct Library {
    /// The name by which it is needed.
    name: OsString,
    pub path: PathBuf,
    code: ProtectedFile,
    /// Whether the dynamic loader opens it itself, by its path.
    is_loaded_by_path: bool,
}

impl Library {
    /// Replaces the file by a private copy. One that is loaded by its path is checked, but not copied.
    pub fn copied(mut self) -> Result<Self, String> {
        if !self.is_loaded_by_path {
            self.code = self.code.copied().map_err(|problem| format!("{} {problem}", self.path.display()))?;
        }
        Ok(self)
    }

    /// The code, for a worker to load.
    pub fn code(&self) -> LibraryCode<'_> {
        LibraryCode {
            path: &self.path,
            file: self.code.file().as_fd(),
            is_loaded_by_path: self.is_loaded_by_path,
        }
    }
}

/// Finds the libraries that this plugin brings along, each after those that it needs itself.
///
/// # Errors
///
/// One of them is not trusted, or cannot be loaded. The text follows the path of the plugin in a message.
pub fn libraries_of(plugin: &Path, linkage: &Linkage, trust: Trust) -> Result<Vec<Library>, String> {
    let plugin = std::path::absolute(plugin).map_err(|error| format!("cannot be found: {error}"))?;
    let mut search = Search { trust, found: Vec::new(), visited: Vec::new(), loaded: None };
    search.add_needs_of(&plugin, linkage, &[])?;
    Ok(search.found)
}

struct Search {
    trust: Trust,
    found: Vec<Library>,
    /// The paths of all libraries that were found, also those whose needs are still looked for.
    visited: Vec<PathBuf>,
    /// The names of libraries that this process has loaded already.
    loaded: Option<Vec<OsString>>,
}

impl Search {
    /// Adds what this library needs. `inherited` are the directories that the libraries which need it have searched.
    fn add_needs_of(
        &mut self,
        library: &Path,
        linkage: &Linkage,
        inherited: &[PathBuf],
    ) -> Result<(), String> {
        let rpath = match &linkage.runpath {
            None => [self.search_path(library, linkage.rpath.as_deref())?, inherited.to_vec()].concat(),
            Some(_) => Vec::new(),
        };
        let runpath = self.search_path(library, linkage.runpath.as_deref())?;
        for name in &linkage.needed {
            if name.as_bytes().contains(&b'/') {
                self.add_by_path(Path::new(name))?;
            } else if let Some(path) = self.look_for(name, &rpath, &runpath) {
                self.add_by_name(name, path, &rpath)?;
            }
        }
        Ok(())
    }

    /// The directories of a search path, all of which are trusted or do not exist.
    fn search_path(&self, library: &Path, list: Option<&OsStr>) -> Result<Vec<PathBuf>, String> {
        let Some(list) = list else { return Ok(Vec::new()) };
        let origin = library.parent().unwrap_or(Path::new("/"));
        let elements = list.as_bytes().split(|byte| *byte == b':').map(OsStr::from_bytes);
        let directories: Vec<PathBuf> =
            elements.map(|element| directory(element, origin)).collect::<Result<_, _>>()?;
        for directory in &directories {
            check_directory(directory, self.trust).map_err(|problem| {
                format!(
                    "has libraries looked for in {} (RPATH or RUNPATH), which {problem}",
                    directory.display()
                )
            })?;
        }
        Ok(directories)
    }

    fn look_for(&mut self, name: &OsStr, rpath: &[PathBuf], runpath: &[PathBuf]) -> Option<PathBuf> {
        if rpath.is_empty() && runpath.is_empty() || self.is_loaded(name) {
            return None;
        }
        let first_in = |directories: &[PathBuf]| {
            directories
                .iter()
                .map(|directory| directory.join(name))
                .find(|path| path.symlink_metadata().is_ok())
        };
        // The caller's directories come after an RPATH, and before a RUNPATH. They are the dynamic loader's business.
        first_in(rpath).or_else(|| if is_in_library_path(name) { None } else { first_in(runpath) })
    }

    /// Whether it is one of the libraries of this program, which a plugin uses as well.
    fn is_loaded(&mut self, name: &OsStr) -> bool {
        let ours = || File::open("/proc/self/exe").ok().and_then(|program| Linkage::of(&program).ok());
        let loaded = self.loaded.get_or_insert_with(|| ours().unwrap_or_default().needed);
        loaded.iter().any(|known| known == name)
    }

    fn add_by_name(&mut self, name: &OsStr, path: PathBuf, rpath: &[PathBuf]) -> Result<(), String> {
        if self.found.iter().any(|known| known.name == name) || self.visits(&path)? {
            return Ok(());
        }
        let about = |problem: String| format!("needs {}, which {problem}", path.display());
        let (mut code, linkage) = self.open(&path).map_err(about)?;
        if linkage.name.as_deref() != Some(name) {
            let name = name.display();
            return Err(about(format!(
                "does not have the name {name} in itself (DT_SONAME), by which it is needed; link it with -Wl,-soname,{name}"
            )));
        }
        self.add_needs_of(&path, &linkage, rpath)?;
        if linkage.has_search_path() {
            code = code.copied().map_err(about)?;
        }
        self.found.push(Library { name: name.to_owned(), path, code, is_loaded_by_path: false });
        Ok(())
    }

    fn add_by_path(&mut self, path: &Path) -> Result<(), String> {
        if path.is_relative() {
            return Err(format!(
                "needs the library {} by a relative path, which another user may control; link it by its name (-l), and \
                 give its directory with -Wl,-rpath,'$ORIGIN/DIRECTORY'",
                path.display()
            ));
        }
        if self.visits(path)? {
            return Ok(());
        }
        let about = |problem: String| format!("needs {}, which {problem}", path.display());
        let (code, linkage) = self.open(path).map_err(about)?;
        if linkage.has_search_path() {
            return Err(about(
                "is needed by its path and has libraries looked for in directories of its own (RPATH or RUNPATH), both \
                 of which is not supported; link it by its name (-l)"
                    .to_owned(),
            ));
        }
        self.add_needs_of(path, &linkage, &[])?;
        let name = path.as_os_str().to_owned();
        self.found.push(Library { name, path: path.to_owned(), code, is_loaded_by_path: true });
        Ok(())
    }

    /// Whether the needs of this library are added already, or being added.
    fn visits(&mut self, path: &Path) -> Result<bool, String> {
        if self.visited.iter().any(|known| known == path) {
            return Ok(true);
        }
        if self.visited.len() >= MOST_LIBRARIES {
            return Err(format!("brings more than {MOST_LIBRARIES} libraries"));
        }
        self.visited.push(path.to_owned());
        Ok(false)
    }

    fn open(&self, path: &Path) -> Result<(ProtectedFile, Linkage), String> {
        let code = ProtectedFile::new(open_trusted(path, self.trust)?)?;
        let linkage = check_library(code.file())?;
        Ok((code, linkage))
    }
}

/// A directory of a search path.
fn directory(element: &OsStr, origin: &Path) -> Result<PathBuf, String> {
    let refused = |why: &str| {
        let shown = element.display();
        format!(
            "has libraries looked for in '{shown}' (RPATH or RUNPATH), {why}; link it with an absolute directory, or \
             with -Wl,-rpath,'$ORIGIN/DIRECTORY'"
        )
    };
    match search_directory(element, origin) {
        None => Err(refused("of which only $ORIGIN at the beginning is supported")),
        Some(path) if path.is_relative() => Err(refused("a relative path, which another user may control")),
        Some(path) => Ok(path),
    }
}

fn is_in_library_path(name: &OsStr) -> bool {
    let list = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    list.as_bytes()
        .split(|byte| b":;".contains(byte))
        .any(|directory| Path::new(OsStr::from_bytes(directory)).join(name).exists())
}

//! A plugin file that passed the checks before loading.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::check_before_loading::{Trust, check_plugin, open_trusted};
use super::libraries::{Library, libraries_of};
use super::protected_file::ProtectedFile;
use crate::error::{Error, Result};
use crate::worker::PluginCode;

/// A plugin file that passed the checks before loading, with the libraries that it brings along.
///
/// The code cannot change between its check and its use, nor afterwards.
pub struct PluginFile {
    /// The file's name without `lib` and `.so`.
    pub name: String,
    /// The path that it was read from.
    pub path: PathBuf,
    code: ProtectedFile,
    libraries: Vec<Library>,
}

impl PluginFile {
    /// Opens the file and checks what can be checked without running it.
    ///
    /// As long as the value exists, other processes that open the file for writing wait, so it should be dropped soon.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not to be trusted, or is not a plugin for this machine.
    pub fn open(path: &Path, trust: Trust) -> Result<Self> {
        let code = open_trusted(path, trust).map_err(|problem| complaint(path, &problem))?;
        Self::with_code(path, code, trust)
    }

    /// Returns the plugin whose code is in this file, which was opened at that path.
    ///
    /// # Errors
    ///
    /// It is not a plugin for this machine, or brings a library that cannot be loaded or is not to be trusted.
    pub fn with_code(path: &Path, code: File, trust: Trust) -> Result<Self> {
        Self::checked(path, code, trust).map_err(|problem| complaint(path, &problem))
    }

    fn checked(path: &Path, code: File, trust: Trust) -> Result<Self, String> {
        let mut code = ProtectedFile::new(code)?;
        let linkage = check_plugin(code.file())?;
        let libraries = libraries_of(path, &linkage, trust)?;
        if linkage.has_search_path() {
            code = code.copied()?;
        }
        Ok(Self { name: name_of(path), path: path.to_owned(), code, libraries })
    }

    /// Replaces the file by a private copy, which can be kept for as long as needed.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn copied(self) -> Result<Self> {
        let Self { name, path, code, libraries } = self;
        let libraries = libraries.into_iter().map(Library::copied).collect::<Result<_, _>>();
        match code.copied().and_then(|code| Ok((code, libraries?))) {
            Ok((code, libraries)) => Ok(Self { name, path, code, libraries }),
            Err(problem) => Err(complaint(&path, &problem)),
        }
    }

    /// The error for a plugin that has the same name as another one.
    pub fn same_name_as(&self, other: &Self) -> Error {
        complaint(&self.path, &format!("is not used: {} has the same name", other.path.display()))
    }

    /// The paths of the libraries that it brings along.
    pub fn libraries(&self) -> impl Iterator<Item = &Path> {
        self.libraries.iter().map(|library| library.path.as_path())
    }

    /// The code, for a worker to load.
    pub fn code(&self) -> PluginCode<'_> {
        PluginCode {
            name: &self.name,
            path: &self.path,
            file: self.code.file().as_fd(),
            libraries: self.libraries.iter().map(Library::code).collect(),
        }
    }
}

/// The plugin's name: the file name without `lib` and `.so`.
pub fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.strip_prefix("lib").filter(|name| !name.is_empty()).unwrap_or(&stem).to_owned()
}

fn complaint(path: &Path, problem: &str) -> Error {
    Error::Plugin { plugin: name_of(path), problem: format!("{} {problem}", path.display()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_named_after_its_file() {
        assert_eq!(name_of(Path::new("/x/libftrace.so")), "ftrace");
        assert_eq!(name_of(Path::new("ftrace.so")), "ftrace");
        assert_eq!(name_of(Path::new("lib.so")), "lib");
    }
}

//! `install`

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::Context;
use crate::error::{Error, Result};
use crate::plugins::{self, Trust};

const MANAGER: &str = "manager";
/// The name that container-tracer looks for. It takes any `manager.*`, so there must be only one.
const LINK: &str = "manager.bin";
const PLUGINS: &str = "plugins";
/// Everyone may run it, only the owner may change it.
const MODE: u32 = 0o755;
/// In a directory with this bit, other users cannot rename or remove what is ours.
const STICKY: u32 = 0o1000;

/// Copies this manager and its plugins into a directory. Returns a remark for each directory above whose mode was changed.
///
/// # Errors
///
/// A file cannot be copied, or another user can change what was installed.
pub fn install(context: &Context<'_>, directory: &Path) -> Result<Vec<String>> {
    let sources = plugin_files(context)?;
    let directory = made(directory)?;
    let plugins = made(&directory.join(PLUGINS))?;
    let mut remarks = Vec::new();
    for above in directory.ancestors().skip(1) {
        remarks.extend(protect(above)?);
    }
    let mut installed = Vec::new();
    for (name, source) in sources {
        let file = plugins.join(name);
        copy(source, &file)?;
        installed.push(file);
    }
    // Last, because container-tracer uses the directory as soon as there is a manager in it.
    let executable = Path::new("/proc/self/exe");
    let this = File::open(executable).map_err(Error::io("open", executable))?;
    copy(this, &directory.join(MANAGER))?;
    link(MANAGER, &directory.join(LINK))?;
    installed.iter().try_for_each(|plugin| open_trusted(plugin, Trust::Required).map(drop))?;
    Ok(remarks)
}

/// The plugins with their file names, opened, so that nothing is installed if one of them cannot be read.
fn plugin_files(context: &Context<'_>) -> Result<Vec<(PathBuf, File)>> {
    let mut files: Vec<(PathBuf, File)> = Vec::new();
    for directory in &context.directories {
        for path in plugins::plugin_paths(directory)? {
            let name = PathBuf::from(path.file_name().unwrap_or_default());
            // As for a call: of two with the same name, the first counts.
            if files.iter().all(|(known, _)| *known != name) {
                files.push((name, open_trusted(&path, context.trust)?));
            }
        }
    }
    Ok(files)
}

fn open_trusted(plugin: &Path, trust: Trust) -> Result<File> {
    plugins::open_trusted(plugin, trust)
        .map_err(|problem| Error::Directory { path: plugin.to_owned(), problem })
}

/// Makes the directory, if it is missing, and takes the right to write to it from other users. Returns its path without
/// links.
fn made(directory: &Path) -> Result<PathBuf> {
    let created = DirBuilder::new().recursive(true).mode(MODE).create(directory);
    created.map_err(Error::io("create", directory))?;
    fs::set_permissions(directory, Permissions::from_mode(MODE))
        .map_err(Error::io("set the mode of", directory))?;
    directory.canonicalize().map_err(Error::io("find", directory))
}

/// Sets the sticky bit of a directory of ours that others can write to, such as an `emptyDir` of Kubernetes. In others, the
/// plugins are not trusted, which is an error at the end.
fn protect(directory: &Path) -> Result<Option<String>> {
    let metadata = directory.metadata().map_err(Error::io("inspect", directory))?;
    let mode = metadata.mode() & 0o7777;
    let is_ours = metadata.uid() == geteuid().as_raw();
    if !is_ours || mode & 0o022 == 0 || mode & STICKY != 0 {
        return Ok(None);
    }
    let protected = fs::set_permissions(directory, Permissions::from_mode(mode | STICKY));
    protected.map_err(Error::io("set the sticky bit of", directory))?;
    let shown = directory.display();
    Ok(Some(format!("{shown} can be written to by other users (mode {mode:04o}); its sticky bit is set now")))
}

/// Replaces a file atomically. A process that uses the old file keeps it.
fn copy(mut source: File, file: &Path) -> Result<()> {
    let new = temporary(file);
    let copied = (|| {
        remove(&new)?;
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        io::copy(&mut source, &mut copy)?;
        copy.set_permissions(Permissions::from_mode(MODE))?;
        copy.sync_all()?;
        fs::rename(&new, file)
    })();
    copied.map_err(|error| {
        let _ = remove(&new);
        Error::io("install", file)(error)
    })
}

fn link(target: &str, link: &Path) -> Result<()> {
    let new = temporary(link);
    let made = remove(&new).and_then(|()| symlink(target, &new)).and_then(|()| fs::rename(&new, link));
    made.map_err(Error::io("install", link))
}

/// A name that the manager and container-tracer ignore.
fn temporary(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.new"))
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

//! `install`

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use super::Context;
use crate::error::{Error, Result};
use crate::path_walk::{Element, Kind, PathWalk};
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
    let mut remarks = Vec::new();
    let directory = made(directory, &mut remarks)?;
    let plugins = made(&directory.join(PLUGINS), &mut remarks)?;
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
/// links. Every directory above is checked before it is used, so no other user can redirect the path meanwhile.
fn made(directory: &Path, remarks: &mut Vec<String>) -> Result<PathBuf> {
    let mut walk = PathWalk::along(directory).map_err(Error::io("find", directory))?;
    loop {
        let place = walk.next_path();
        let element = match walk.next() {
            Err(Errno::ENOENT) => {
                let made = walk.make_directory(Mode::from_bits_truncate(MODE));
                made.or_else(existing).map_err(Error::path("create", &place))?;
                walk.next()
            }
            found => found,
        };
        let Some(element) = element.map_err(Error::path("open", &place))? else { return Ok(place) };
        check_owner(&element)?;
        match element.kind() {
            Kind::Directory if walk.is_at_last() => {
                element.set_mode(MODE).map_err(Error::io("set the mode of", &place))?;
            }
            Kind::Directory => remarks.extend(protect(&element)?),
            _ => {}
        }
        walk.enter(element).map_err(Error::path("open", &place))?;
    }
}

fn existing(errno: Errno) -> nix::Result<()> {
    if errno == Errno::EEXIST { Ok(()) } else { Err(errno) }
}

fn check_owner(element: &Element) -> Result<()> {
    let owner = element.owner();
    if owner.is_root() || owner == geteuid() {
        return Ok(());
    }
    let problem = format!(
        "is not trusted: it belongs to user {owner}; change that (chown -h root), or choose another directory"
    );
    Err(Error::Directory { path: element.path.clone(), problem })
}

/// Sets the sticky bit of a directory of ours that others can write to, such as an `emptyDir` of Kubernetes. In others, the
/// plugins are not trusted, which is an error at the end.
fn protect(element: &Element) -> Result<Option<String>> {
    let mode = element.mode();
    let is_ours = element.owner() == geteuid();
    if !is_ours || !element.is_writable_by_others() || element.is_sticky() {
        return Ok(None);
    }
    let protected = element.set_mode(mode | STICKY);
    protected.map_err(Error::io("set the sticky bit of", &element.path))?;
    let shown = element.path.display();
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

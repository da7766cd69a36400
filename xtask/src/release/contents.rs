//! The files of a release, laid out for the packages.

use std::fs;
use std::path::{Path, PathBuf};

use super::binaries::Binaries;
use super::installed_help::InstalledHelp;
use crate::cargo;
use crate::dist;
use crate::error::{Explain, Result};

/// The directory, in the workspace, that the packages are made from. `[package.metadata.deb]` of the manager names it, too.
const PACKAGE: &str = "target/package";
/// The directory in the tarball.
pub const TOP: &str = "trace-hooks";
/// From the workspace.
const DOCUMENTS: [&str; 5] = ["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE-APACHE", "LICENSE-MIT"];
const GUIDES: &str = "docs";

/// The directory that has [`TOP`].
pub fn directory() -> PathBuf {
    cargo::root().join(PACKAGE)
}

/// Lays out the files for an architecture, in the place of those for another one.
pub fn lay_out(binaries: &Binaries, help: &InstalledHelp) -> Result<()> {
    let _ = fs::remove_dir_all(directory());
    dist::lay_out_in(&directory(), &binaries.artifacts)?;
    dist::link_command(&directory().join(TOP), "kernel")?;
    write("man/trace-hooks.8", &help.man_page)?;
    for (shell, completions) in &help.completions {
        write(format!("completions/{}", completions_file(shell)), completions)?;
    }
    DOCUMENTS.iter().try_for_each(|document| copy(Path::new(document)))?;
    for guide in fs::read_dir(cargo::root().join(GUIDES))? {
        copy(&Path::new(GUIDES).join(guide?.file_name()))?;
    }
    Ok(())
}

/// The name that the shell looks for.
fn completions_file(shell: &str) -> &str {
    match shell {
        "fish" => "trace-hooks.fish",
        "zsh" => "_trace-hooks",
        _ => "trace-hooks",
    }
}

fn copy(file: &Path) -> Result<()> {
    let content = fs::read(cargo::root().join(file)).explain(|| format!("cannot read {}", file.display()))?;
    write(file, content)
}

fn write(place: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
    let file = directory().join(TOP).join(place);
    let parent = file.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(&file, content))
        .explain(|| format!("cannot write {}", file.display()))
}

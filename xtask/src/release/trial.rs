//! Uses a release on other distributions: installs it into a root file system of each, and runs sessions there. In that of
//! container-tracer's image it also plays its DaemonSet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::architecture::Architecture;
use super::packages::{deb_path, tarball_path};
use super::tools::{output, run};
use crate::error::{Explain, Result};
use crate::{cargo, dist, privilege, test};

/// The oldest distributions with a glibc that is new enough, of those that are still on the mirrors.
const DISTRIBUTIONS: [Distribution; 2] = [
    Distribution {
        name: "Debian 11",
        vendor: "Debian",
        suite: "bullseye",
        is_of_container_tracer: true,
        key: None,
    },
    Distribution {
        name: "Ubuntu 20.04",
        vendor: "Ubuntu",
        suite: "focal",
        is_of_container_tracer: false,
        // Debian has no package with the keys of Ubuntu. This one has signed its releases since 2018.
        key: Some("xtask/release/ubuntu-archive-2018.asc"),
    },
];
/// What is run there.
const SCRIPT: &str = include_str!("../../release/trial.sh");
/// Where the packages are in the root file system.
const PACKAGES: &str = "packages";
/// Runs the script in the root file system `$1` with the words that follow. All mounts are in a namespace of its own, and
/// end with it.
const IN_ROOT: &str = r#"
root=$1; shift
mount --rbind /proc "$root/proc"
mount --rbind /sys "$root/sys"
mount -t tmpfs tmpfs "$root/run"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C chroot "$root" sh /packages/trial.sh "$@""#;

struct Distribution {
    name: &'static str,
    /// What its mirrors call themselves.
    vendor: &'static str,
    /// What they call this version.
    suite: &'static str,
    /// Whether container-tracer's image is made from it.
    is_of_container_tracer: bool,
    /// The key of its archive, in the workspace, unless this machine has it.
    key: Option<&'static str>,
}

/// A root file system of a distribution, which is removed when this is dropped.
pub struct System {
    distribution: &'static Distribution,
    root: TempDir,
}

/// Creates the systems that releases are tested on.
pub fn systems() -> Result<Vec<System>> {
    if let Some(obstacle) = privilege::obstacle() {
        return Err(format!("a release cannot be tested here: {obstacle}").into());
    }
    DISTRIBUTIONS.iter().map(System::create).collect()
}

/// Installs and uses the release of this machine's architecture, with this plugin that panics.
pub fn test(systems: &[System], release: &Path, panicking_plugin: &Path) -> Result<()> {
    for system in systems {
        let name = system.distribution.name;
        println!("{name}:");
        system.test(release, panicking_plugin).explain(|| format!("on {name}"))?;
    }
    Ok(())
}

impl System {
    fn create(distribution: &'static Distribution) -> Result<Self> {
        Ok(Self { distribution, root: distribution.root()? })
    }

    fn test(&self, release: &Path, panicking_plugin: &Path) -> Result<()> {
        let root = self.root.path();
        let words = copy_into(root, release, panicking_plugin)?;
        let mut trial = Command::new("unshare");
        trial.args(["--mount", "--propagation", "private", "sh", "-euc", IN_ROOT, "sh"]);
        run(trial.arg(root).args(words))?;
        if self.distribution.is_of_container_tracer { play_daemon_set(root, release) } else { Ok(()) }
    }
}

/// Runs the tests that play the DaemonSet of container-tracer, with the tarball in this root file system.
fn play_daemon_set(root: &Path, release: &Path) -> Result<()> {
    let unpacked = tempfile::tempdir()?;
    let tarball = tarball_path(Architecture::ours()?, release);
    run(Command::new("tar").arg("-xzf").arg(tarball).arg("--directory").arg(unpacked.path()))?;
    test::daemon_set(&unpacked.path().join(dist::KERNEL), root)
}

impl Distribution {
    /// Creates a root file system that is removed when it is dropped.
    fn root(&self) -> Result<TempDir> {
        let root = tempfile::Builder::new().prefix("root-").tempdir_in(cargo::root().join("target"))?;
        let mut mmdebstrap = Command::new("mmdebstrap");
        mmdebstrap.args(["--quiet", "--variant=essential", "--aptopt=Acquire::Retries \"3\""]);
        if let Some(key) = self.key {
            mmdebstrap.arg("--keyring").arg(cargo::root().join(key));
        }
        mmdebstrap.arg(self.suite).arg(root.path());
        // Otherwise it takes the vendor's own mirror.
        if let Some(mirror) = self.mirror()? {
            mmdebstrap.arg(format!("deb {mirror} {} main", self.suite));
        }
        run(&mut mmdebstrap)?;
        Ok(root)
    }

    /// The vendor's mirror that apt uses here, if any.
    fn mirror(&self) -> Result<Option<String>> {
        let mirrors =
            output(Command::new("apt-get").args(["indextargets", "--format", "$(LABEL) $(REPO_URI)"]))?;
        let mut mirrors = mirrors.lines().filter_map(|line| line.split_once(' '));
        Ok(mirrors.find(|(label, _)| *label == self.vendor).map(|(_, mirror)| mirror.to_owned()))
    }
}

/// Copies what the script needs into the root file system; returns the script's arguments.
fn copy_into(root: &Path, release: &Path, panicking_plugin: &Path) -> Result<[PathBuf; 3]> {
    let (tarball, deb) =
        (tarball_path(Architecture::ours()?, release), deb_path(Architecture::ours()?, release));
    let packages = root.join(PACKAGES);
    fs::create_dir(&packages)?;
    fs::create_dir(packages.join("panicking"))?;
    fs::write(packages.join("trial.sh"), SCRIPT)?;
    let copy = |from: &Path, name: &str| {
        fs::copy(from, packages.join(name)).explain(|| format!("cannot copy {}", from.display()))
    };
    copy(&tarball, "trace-hooks.tar.gz")?;
    copy(&deb, "trace-hooks.deb")?;
    copy(panicking_plugin, "panicking/failing.so")?;
    Ok(["trace-hooks.tar.gz", "trace-hooks.deb", "panicking"]
        .map(|name| Path::new("/").join(PACKAGES).join(name)))
}

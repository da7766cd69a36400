//! Kernels from Debian's archive.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::machine::Machine;
use crate::error::{Explain, Result};

const ARCHIVE: &str = "http://deb.debian.org/debian";
const SECURITY: &str = "http://deb.debian.org/debian-security";
const SUITES: [&str; 6] = ["bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "sid"];
const SECURITY_SUITES: [&str; 3] = ["bullseye-security", "bookworm-security", "trixie-security"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// In the place of a series: the newest kernel of the archive.
pub const NEWEST: &str = "newest";

/// The beginnings of the names of the packages that a kernel is in. Before 7.3, the first has all of it.
const PARTS: [&str; 4] = ["linux-image-", "linux-base-", "linux-binary-", "linux-modules-"];

/// A kernel that is unpacked below `target/kernels/`.
pub struct Kernel {
    /// Its full version, as in `uname -r`.
    pub release: String,
    pub image: PathBuf,
    /// `lib/modules/RELEASE`.
    pub modules: PathBuf,
}

/// An apt configuration of its own, for one architecture.
pub struct Archive {
    directory: PathBuf,
    machine: Machine,
}

impl Archive {
    pub fn new(directory: &Path, machine: Machine) -> Result<Self> {
        let directory = directory.join(format!("apt-{}", machine.debian()));
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(part)).explain(|| "cannot create a directory for apt")?;
        }
        fs::write(directory.join("sources.list"), sources())?;
        Ok(Self { directory, machine })
    }

    /// The newest kernel of a series, such as `6.1`: one that is there already, or the archive's.
    pub fn kernel(&self, series: &str) -> Result<Kernel> {
        match self.unpacked(series)? {
            Some(kernel) => Ok(kernel),
            None => self.download(series),
        }
    }

    fn kernels(&self, series: &str) -> PathBuf {
        self.directory.join(format!("linux-{series}"))
    }

    fn unpacked(&self, series: &str) -> Result<Option<Kernel>> {
        let root = self.kernels(series);
        if !root.exists() {
            return Ok(None);
        }
        let modules = [root.join("usr/lib/modules"), root.join("lib/modules")];
        let modules = modules.iter().find(|modules| modules.exists());
        let modules = modules.ok_or_else(|| format!("no modules in {}", root.display()))?;
        let release = fs::read_dir(modules)?.flatten().next();
        let release = release.ok_or_else(|| format!("{} is empty", modules.display()))?;
        let name = release.file_name().to_string_lossy().into_owned();
        let images = [root.join(format!("boot/vmlinuz-{name}")), release.path().join("vmlinuz")];
        let image = images.into_iter().find(|image| image.exists());
        let image = image.ok_or_else(|| format!("no image in {}", root.display()))?;
        Ok(Some(Kernel { release: name, image, modules: release.path() }))
    }

    /// The newest kernel of a series that can be fetched: an archive may list packages that it no longer has.
    fn download(&self, series: &str) -> Result<Kernel> {
        run(self.apt("apt-get").args(["--quiet=2", "update"]))?;
        let mut failure = format!("Debian's archive has no kernel {series}").into();
        for packages in self.newest_first(series)? {
            match self.unpack(&packages, series) {
                Ok(kernel) => return Ok(kernel),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn unpack(&self, packages: &[String], series: &str) -> Result<Kernel> {
        let new = self.directory.join("new");
        let _ = fs::remove_dir_all(&new);
        for package in packages {
            eprintln!("Downloading {package}");
            run(self.apt("apt-get").args(["--quiet=2", "download", package]).current_dir(&self.directory))?;
            let file = self.downloaded(package)?;
            run(Command::new("dpkg-deb").arg("--extract").arg(&file).arg(&new))?;
            fs::remove_file(&file)?;
        }
        fs::rename(&new, self.kernels(series))?;
        self.unpacked(series)?.ok_or_else(|| format!("{} has no kernel", packages.join(" ")).into())
    }

    fn downloaded(&self, package: &str) -> Result<PathBuf> {
        let is_it = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{package}_")))
        };
        let files = fs::read_dir(&self.directory)?.flatten().map(|entry| entry.path());
        files.into_iter().find(is_it).ok_or_else(|| format!("apt has not stored {package}").into())
    }

    /// The packages of each kernel of a series.
    fn newest_first(&self, series: &str) -> Result<Vec<Vec<String>>> {
        let names = self.apt("apt-cache").args(["pkgnames", "linux-"]).output()?;
        let suffix = format!("-cloud-{}", self.machine.debian());
        let names = String::from_utf8_lossy(&names.stdout).into_owned();
        let versions = names.lines().filter_map(|name| version(name, &suffix));
        let mut versions: Vec<&str> = versions.filter(|version| is_of(version, series)).collect();
        versions.sort_unstable_by_key(|version| Reverse(numbers(version)));
        let has = |package: &String| names.lines().any(|name| name == package);
        let parts = |version: &&str| {
            PARTS.map(|part| format!("{part}{version}{suffix}")).into_iter().filter(has).collect()
        };
        Ok(versions.iter().map(parts).collect())
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        let path = |name: &str| self.directory.join(name).display().to_string();
        for (option, value) in [
            ("Dir::State::lists", path("lists")),
            ("Dir::State::status", "/dev/null".to_owned()),
            ("Dir::Cache", path("cache")),
            ("Dir::Etc::sourcelist", path("sources.list")),
            ("Dir::Etc::sourceparts", "-".to_owned()),
            ("APT::Architecture", self.machine.debian().to_owned()),
            ("APT::Architectures", self.machine.debian().to_owned()),
            // The user _apt may be unable to enter the checkout.
            ("APT::Sandbox::User", "root".to_owned()),
        ] {
            apt.args(["-o", &format!("{option}={value}")]);
        }
        apt.stdin(Stdio::null());
        apt
    }
}

fn sources() -> String {
    let of = |archive: &str, suites: &[&str]| -> String {
        suites.iter().map(|suite| format!("deb [signed-by={KEYRING}] {archive} {suite} main\n")).collect()
    };
    of(ARCHIVE, &SUITES) + &of(SECURITY, &SECURITY_SUITES)
}

/// The version in the name of a package, such as `6.1.0-57`. Packages that depend on the current kernel have none.
fn version<'a>(package: &'a str, suffix: &str) -> Option<&'a str> {
    let version = package.strip_prefix(PARTS[0])?.strip_suffix(suffix)?;
    version.starts_with(|first: char| first.is_ascii_digit()).then_some(version)
}

fn is_of(version: &str, series: &str) -> bool {
    series == NEWEST || version.strip_prefix(series).is_some_and(|rest| rest.starts_with('.'))
}

/// The numbers in whose order versions are.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().explain(|| format!("cannot start {program}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} ended with {status}").into()) }
}

#[cfg(test)]
mod tests {
    use super::{NEWEST, is_of, numbers, version};

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(numbers("6.1.0-9") < numbers("6.1.0-57"));
        assert!(numbers("6.1.0-0.deb11.52") < numbers("6.1.0-9"));
        assert!(numbers("7.3") < numbers("7.3.4+deb13"));
    }

    #[test]
    fn packages_of_a_series_are_told_apart() {
        let suffix = "-cloud-arm64";
        let version = |package| version(package, suffix);
        assert_eq!(version("linux-image-6.1.0-57-cloud-arm64"), Some("6.1.0-57"));
        assert_eq!(version("linux-image-cloud-arm64"), None);
        assert_eq!(version("linux-image-6.1.0-57-arm64"), None);
        assert!(is_of("6.1.0-57", "6.1") && !is_of("6.12.3", "6.1") && is_of("7.3", NEWEST));
    }
}

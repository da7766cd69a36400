//! The guests' root file system, which is an initramfs: Debian, the product, and a few modules of the kernel.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::debian::{Archive, Kernel, run};
use super::guest::Guest;
use super::machine::Machine;
use crate::error::{Explain, Result};

const SUITE: &str = "bookworm";
/// They are unpacked only, not configured, so that this machine need not run programs of the guests'.
const PACKAGES: &str = "base-files,coreutils,dash,iproute2,kmod,libc-bin,mount,procps,python3,util-linux";
/// In mmdebstrap's package: the links from `/bin`, `/lib` and `/sbin`.
const MERGED_USR: &str = "/usr/share/mmdebstrap/hooks/merged-usr";
/// What a guest runs: the first one, and its modules.
const TESTS: [(&str, &str); 9] = [
    ("main.py", include_str!("guest/main.py")),
    ("blocks.py", include_str!("guest/blocks.py")),
    ("calls.py", include_str!("guest/calls.py")),
    ("cgroups.py", include_str!("guest/cgroups.py")),
    ("hooks.py", include_str!("guest/hooks.py")),
    ("session.py", include_str!("guest/session.py")),
    ("surroundings.py", include_str!("guest/surroundings.py")),
    ("teardown.py", include_str!("guest/teardown.py")),
    ("texts.py", include_str!("guest/texts.py")),
];
/// The modules that guests load; those that they depend on are in the same directories.
const MODULES: [&str; 4] = ["drivers/block/zram", "mm", "lib", "crypto"];

/// The parts that the guests' initramfs are made of.
pub struct Initramfs {
    directory: PathBuf,
    /// Debian's root, by architecture, as cpio archives.
    roots: BTreeMap<Machine, PathBuf>,
    kernels: BTreeMap<(Machine, String), Kernel>,
    products: BTreeMap<Machine, PathBuf>,
}

impl Initramfs {
    /// Downloads and builds what is missing.
    pub fn prepare(directory: &Path, guests: &[Guest], products: BTreeMap<Machine, PathBuf>) -> Result<Self> {
        fs::create_dir_all(directory).explain(|| format!("cannot create {}", directory.display()))?;
        let mut roots = BTreeMap::new();
        let mut kernels = BTreeMap::new();
        for guest in guests {
            let machine = guest.machine;
            if let Entry::Vacant(missing) = roots.entry(machine) {
                missing.insert(root(directory, machine)?);
            }
            if let Entry::Vacant(missing) = kernels.entry((machine, guest.series.clone())) {
                missing.insert(Archive::new(directory, machine)?.kernel(&guest.series)?);
            }
        }
        Ok(Self { directory: directory.to_owned(), roots, kernels, products })
    }

    pub fn kernel(&self, guest: &Guest) -> &Kernel {
        &self.kernels[&(guest.machine, guest.series.clone())]
    }

    /// Writes the archive for a guest to `file`.
    pub fn write(&self, guest: &Guest, file: &Path) -> Result<()> {
        let extra = tempfile::tempdir_in(&self.directory)?;
        self.lay_out(guest, extra.path())?;
        fs::copy(&self.roots[&guest.machine], file).explain(|| format!("cannot write {}", file.display()))?;
        // The kernel unpacks one archive after the other.
        append(extra.path(), file)
    }

    fn lay_out(&self, guest: &Guest, root: &Path) -> Result<()> {
        copy_tree(&self.products[&guest.machine], &root.join("product"))?;
        lay_out_tests(root)?;
        let kernel = self.kernel(guest);
        // `lib` is a link to this directory.
        let modules = root.join("usr/lib/modules").join(&kernel.release);
        fs::create_dir_all(modules.join("kernel"))?;
        for part in MODULES.iter().filter(|part| kernel.modules.join("kernel").join(part).exists()) {
            copy_tree(&kernel.modules.join("kernel").join(part), &modules.join("kernel").join(part))?;
        }
        for list in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
            let _ = fs::copy(kernel.modules.join(list), modules.join(list));
        }
        std::os::unix::fs::symlink("usr/lib", root.join("lib"))?;
        run(Command::new("/sbin/depmod").arg("--basedir").arg(root).arg(&kernel.release))?;
        fs::remove_file(root.join("lib"))?;
        Ok(())
    }
}

fn lay_out_tests(root: &Path) -> Result<()> {
    let directory = root.join("tests");
    fs::create_dir(&directory)?;
    for (name, text) in TESTS {
        fs::write(directory.join(name), text)?;
    }
    let (first, _) = TESTS[0];
    fs::set_permissions(directory.join(first), fs::Permissions::from_mode(0o755))?;
    Ok(std::os::unix::fs::symlink(Path::new("tests").join(first), root.join("init"))?)
}

/// The root file system of an architecture.
fn root(directory: &Path, machine: Machine) -> Result<PathBuf> {
    let file = directory.join(format!("root-{}.cpio", machine.debian()));
    if file.exists() {
        return Ok(file);
    }
    eprintln!("Building a root file system of Debian {SUITE} for {}", machine.debian());
    let tree = tempfile::tempdir_in(directory)?;
    let new = directory.join(format!("root-{}.new", machine.debian()));
    let _ = fs::remove_file(&new);
    let excluded =
        ["doc", "man", "locale", "info"].map(|part| format!("--dpkgopt=path-exclude=/usr/share/{part}/*"));
    run(Command::new("mmdebstrap")
        .args(["--quiet", "--mode=root", "--variant=extract"])
        .arg(format!("--hook-directory={MERGED_USR}"))
        .args([&format!("--architectures={}", machine.debian()), &format!("--include={PACKAGES}")])
        .args(excluded)
        .args(["--customize-hook=rm -rf \"$1\"/var/lib/apt/lists/* \"$1\"/var/cache/*"])
        .arg(SUITE)
        .arg(tree.path())
        .stdout(Stdio::null()))?;
    append(tree.path(), &new)?;
    fs::rename(&new, &file)?;
    Ok(file)
}

/// Appends a tree to a file as a cpio archive, all of it owned by root.
fn append(tree: &Path, file: &Path) -> Result<()> {
    let out = File::options().append(true).create(true).open(file)?;
    let mut find = Command::new("find")
        .args([".", "-xdev", "-print0"])
        .current_dir(tree)
        .stdout(Stdio::piped())
        .spawn()
        .explain(|| "cannot start find")?;
    let names = find.stdout.take().ok_or("find has no output")?;
    let packed = run(Command::new("cpio")
        .args(["--null", "--create", "--format=newc", "--owner=0:0", "--quiet"])
        .current_dir(tree)
        .stdin(names)
        .stdout(out.try_clone()?));
    find.wait()?;
    packed?;
    // The next archive must begin at a multiple of four bytes.
    let length = out.metadata()?.len();
    out.set_len(length.next_multiple_of(512))?;
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).explain(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).explain(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() { copy_tree(&from, &to)? } else { fs::copy(&from, &to).map(drop)? }
    }
    Ok(())
}

//! The tools that a release is built with. Their versions are pinned, and they are installed in the build directory.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo;
use crate::error::{Explain, Result};

/// In the workspace. Each tool has a directory of its own.
const TOOLS: &str = "target/tools";
/// A compiler and linker that comes with the symbol versions of each glibc. From PyPI.
const ZIG: (&str, &str) = ("ziglang", "0.15.2");
/// Runs cargo with zig as linker.
const ZIGBUILD: CargoTool = CargoTool { name: "cargo-zigbuild", version: "0.24.1", features: "" };
/// Makes packages for Debian. It compresses with a library of its own, so that the bytes do not depend on this machine.
const DEB: CargoTool = CargoTool { name: "cargo-deb", version: "3.8.0", features: "static-lzma" };

pub struct Tools {
    zig: PathBuf,
    zigbuild: PathBuf,
}

struct CargoTool {
    name: &'static str,
    version: &'static str,
    /// Those that are needed. The default ones are not.
    features: &'static str,
}

impl Tools {
    /// Installs the tools for building that are missing.
    pub fn install() -> Result<Self> {
        Ok(Self { zig: zig()?, zigbuild: ZIGBUILD.install()? })
    }

    /// `cargo zigbuild`, in the workspace.
    pub fn zigbuild(&self) -> Command {
        let mut command = in_workspace(&self.zigbuild);
        command.arg("zigbuild").env("CARGO_ZIGBUILD_ZIG_PATH", &self.zig);
        command
    }
}

/// `cargo deb`, in the workspace.
pub fn deb() -> Result<Command> {
    Ok(in_workspace(DEB.install()?))
}

impl CargoTool {
    fn install(&self) -> Result<PathBuf> {
        let root = directory(&format!("{}-{}", self.name, self.version));
        let tool = root.join("bin").join(self.name);
        if !tool.exists() {
            // In debug mode they take half the time to build, and are fast enough.
            let mut install =
                cargo::cargo(&["install", self.name, "--locked", "--debug", "--no-default-features"]);
            install
                .args(["--features", self.features, "--version", &format!("={}", self.version), "--root"])
                .arg(root);
            cargo::run(&mut install)?;
        }
        Ok(tool)
    }
}

fn zig() -> Result<PathBuf> {
    let (package, version) = ZIG;
    let installed = directory(&format!("{package}-{version}"));
    if !installed.exists() {
        let new = installed.with_extension("new");
        let requirement = format!("{package}=={version}");
        let mut pip = in_workspace("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--upgrade",
            &requirement,
        ]);
        run(pip.arg("--target").arg(&new))?;
        fs::rename(&new, &installed).explain(|| format!("cannot rename {}", new.display()))?;
    }
    Ok(installed.join(package).join("zig"))
}

fn directory(name: &str) -> PathBuf {
    cargo::root().join(TOOLS).join(name)
}

fn in_workspace(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(cargo::root());
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<()> {
    let name =
        Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let status = command.status().explain(|| format!("cannot start {name}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{name}` failed: {status}").into()) }
}

/// Runs a command to its end; returns what it prints.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().explain(|| format!("cannot start {name}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => {
            let words: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(format!("`{name} {}` failed: {}", words.join(" "), errors.trim()).into())
        }
    }
}

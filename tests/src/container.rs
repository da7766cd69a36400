use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio, id};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kernel::skip;

/// A statically linked busybox, which is all that the container has.
const BUSYBOX: &str = "/bin/busybox";

/// A container of runc that sleeps. Dropping it removes it.
#[derive(Debug)]
pub struct Container {
    id: String,
    bundle: TempDir,
}

impl Container {
    /// Starts one; if that is not possible here, reports that the test is skipped.
    pub fn or_skip(name: &str) -> Option<Self> {
        if Command::new("runc").arg("--version").output().is_err() || fs::metadata(BUSYBOX).is_err() {
            skip("it needs runc, and busybox-static");
            return None;
        }
        let container = Self::create(name).expect("a directory can be filled");
        let started = container.runc(&["run", "--detach", "--bundle", container.directory(), container.id()]);
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        Some(container)
    }

    fn create(name: &str) -> io::Result<Self> {
        let container = Self { id: format!("tracehook-test-{}-{name}", id()), bundle: tempfile::tempdir()? };
        let root = container.bundle.path().join("rootfs");
        for directory in ["bin", "proc", "sys", "dev"] {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::copy(BUSYBOX, root.join("bin/busybox"))?;
        for program in ["sh", "sleep"] {
            symlink("busybox", root.join("bin").join(program))?;
        }
        let written = container.runc(&["spec", "--bundle", container.directory()]);
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        let path = container.bundle.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sleep", "1000"]);
        config["linux"]["cgroupsPath"] = json!(container.cgroup_path());
        fs::write(&path, config.to_string())?;
        Ok(container)
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The path of its cgroup, as `/proc/PID/cgroup` shows it.
    pub fn cgroup_path(&self) -> String {
        format!("/{}", self.id)
    }

    /// The id of its first process on the host.
    pub fn pid(&self) -> u32 {
        let state: Value = serde_json::from_slice(&self.runc(&["state", &self.id]).stdout).expect("JSON");
        state["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a pid")
    }

    /// Executes a shell command in it, as `kubectl exec` does.
    pub fn executes(&self, command: &str) {
        self.runc(&["exec", &self.id, "sh", "-c", command]);
    }

    fn directory(&self) -> &str {
        self.bundle.path().to_str().expect("plain text")
    }

    fn runc(&self, words: &[&str]) -> Output {
        // A container that keeps the pipes open would keep this waiting.
        let is_run = words.first() == Some(&"run");
        let stream = || if is_run { Stdio::null() } else { Stdio::piped() };
        let mut command = Command::new("runc");
        command.args(words).stdin(Stdio::null()).stdout(stream()).stderr(stream());
        command.output().expect("runc is installed")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.runc(&["delete", "--force", &self.id]);
    }
}

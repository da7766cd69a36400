use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access, geteuid};

/// The kernel's tracefs.
#[derive(Debug, Clone)]
pub struct Kernel {
    tracing: PathBuf,
}

/// A tracing instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    path: PathBuf,
}

/// An instance that a test has created, foreign to the manager. Dropping it removes it.
#[derive(Debug)]
pub struct OwnInstance(Instance);

/// A uprobe that a test has defined, foreign to the manager. Dropping it removes it.
#[derive(Debug)]
pub struct OwnProbe {
    kernel: Kernel,
    line: String,
}

/// The settings of the top-level instance that can differ from their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopLevel(Vec<(&'static str, String)>);

impl Kernel {
    /// The tracefs, if this user can use it.
    pub fn find() -> Option<Self> {
        let tracing = PathBuf::from("/sys/kernel/tracing");
        let may_trace = is_root() && access(&tracing.join("instances"), AccessFlags::W_OK).is_ok();
        may_trace.then_some(Self { tracing })
    }

    /// The tracefs; if it cannot be used here, reports that the test is skipped.
    pub fn or_skip() -> Option<Self> {
        let kernel = Self::find();
        if kernel.is_none() {
            skip("it needs root, and tracefs: mount -t tracefs tracefs /sys/kernel/tracing");
        }
        kernel
    }

    /// All instances.
    pub fn instances(&self) -> Vec<Instance> {
        let entries = fs::read_dir(self.tracing.join("instances")).expect("the instances can be listed");
        entries.flatten().map(|entry| Instance { path: entry.path() }).collect()
    }

    /// The instances of the managers with these process ids.
    pub fn instances_of(&self, pids: &[u32]) -> Vec<Instance> {
        let names: Vec<String> = pids.iter().map(|pid| format!("tracehook_{pid}_")).collect();
        let is_theirs = |instance: &Instance| names.iter().any(|name| instance.name().starts_with(name));
        self.instances().into_iter().filter(is_theirs).collect()
    }

    /// The lines that define the uprobes of the managers with these process ids.
    pub fn probes_of(&self, pids: &[u32]) -> Vec<String> {
        let systems: Vec<String> = pids.iter().map(|pid| format!(":tracehook_{pid}_")).collect();
        let is_theirs = |line: &&str| systems.iter().any(|system| line.contains(system));
        self.top().get("uprobe_events").lines().filter(is_theirs).map(str::to_owned).collect()
    }

    /// Defines a uprobe at this offset of a file, foreign to the manager.
    pub fn define_probe(&self, name: &str, file: &Path, offset: u64) -> OwnProbe {
        self.define_probe_with(name, file, offset, "")
    }

    /// The same with these arguments, as the kernel takes them.
    pub fn define_probe_with(&self, name: &str, file: &Path, offset: u64, arguments: &str) -> OwnProbe {
        let definition = format!("p:{name} {}:{offset:#x} {arguments}", file.display());
        self.append_to_probes(&definition).unwrap_or_else(|error| panic!("{definition}: {error}"));
        let line =
            self.top().get("uprobe_events").lines().find(|line| line.contains(name)).map(str::to_owned);
        OwnProbe { kernel: self.clone(), line: line.expect("it is defined now") }
    }

    /// Removes the uprobe that this line defines, if possible.
    pub fn remove_probe(&self, line: &str) {
        let name = line.split_once(':').and_then(|(_, rest)| rest.split_whitespace().next());
        let _ = self.append_to_probes(&format!("-:{}", name.unwrap_or_default()));
    }

    /// Appends, because opening the file with O_TRUNC removes every uprobe.
    fn append_to_probes(&self, definition: &str) -> std::io::Result<()> {
        let list = fs::File::options().append(true).open(self.tracing.join("uprobe_events"));
        list?.write_all(definition.as_bytes())
    }

    /// The only instance of the manager with this process id.
    #[track_caller]
    pub fn instance_of(&self, pid: u32) -> Instance {
        let mut instances = self.instances_of(&[pid]);
        assert_eq!(instances.len(), 1, "the instances of {pid}: {instances:?}");
        instances.remove(0)
    }

    /// Creates an instance.
    pub fn make_instance(&self, name: &str) -> OwnInstance {
        let path = self.tracing.join("instances").join(name);
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        OwnInstance(Instance { path })
    }

    /// The top-level instance itself.
    pub fn top(&self) -> Instance {
        Instance { path: self.tracing.clone() }
    }

    /// The settings of the top-level instance.
    pub fn top_level(&self) -> TopLevel {
        const STATE: [&str; 6] =
            ["current_tracer", "tracing_on", "set_event", "set_event_pid", "uprobe_events", "events/enable"];
        TopLevel(STATE.map(|file| (file, self.top().get(file))).into())
    }
}

impl Instance {
    /// Its name.
    pub fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).expect("an instance has a plain name")
    }

    /// Whether it exists.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Whether it records.
    pub fn is_on(&self) -> bool {
        self.try_get("tracing_on").is_some_and(|on| on == "1")
    }

    /// The content of one of its files, without the last newline; empty, where there is no such file.
    pub fn get(&self, file: &str) -> String {
        self.try_get(file).unwrap_or_default()
    }

    /// Writes one of its files.
    #[track_caller]
    pub fn set(&self, file: &str, value: &str) {
        let path = self.path.join(file);
        fs::write(&path, value).unwrap_or_else(|error| panic!("{value:?} to {}: {error}", path.display()));
    }

    /// The tids in its `set_event_pid`.
    pub fn pids(&self) -> Vec<u32> {
        self.get("set_event_pid").lines().filter_map(|pid| pid.parse().ok()).collect()
    }

    /// The recorded and unread lines, without the header.
    pub fn lines(&self) -> Vec<String> {
        self.get("trace").lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, if possible.
    pub fn remove(&self) {
        let _ = fs::remove_dir(&self.path);
    }

    fn try_get(&self, file: &str) -> Option<String> {
        let text = fs::read(self.path.join(file)).ok()?;
        Some(String::from_utf8_lossy(&text).trim_end_matches('\n').to_owned())
    }
}

impl std::ops::Deref for OwnInstance {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.0
    }
}

impl Drop for OwnInstance {
    fn drop(&mut self) {
        self.0.remove();
    }
}

impl OwnProbe {
    /// Whether the kernel still has it, byte for byte as it was defined.
    pub fn is_unchanged(&self) -> bool {
        self.kernel.top().get("uprobe_events").lines().any(|line| line == self.line)
    }
}

impl Drop for OwnProbe {
    fn drop(&mut self) {
        self.kernel.remove_probe(&self.line);
    }
}

/// Whether this is root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Reports that a test is skipped, and why.
///
/// # Panics
///
/// If the environment variable `CI` is set: there, no test may be skipped.
pub fn skip(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var_os("CI").is_none(), "{name} cannot be skipped in CI: {why}");
    // Not by `eprintln!`, whose output is captured in tests that pass.
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {why}");
}

//! Shared by the tests of `ring` and `format`: an instance that is removed when dropped, and the comparison of lines with
//! the kernel's.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tracefs::format::Formatter;
use tracefs::ring::{Item, RingBuffer, Timeline};

pub const TRACEFS: &str = "/sys/kernel/tracing";

/// Reports on standard error that a test is skipped. In CI this is a failure.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "cannot run here: {reason}");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
}

/// A new tracing instance, removed when dropped.
pub struct Instance {
    pub path: PathBuf,
}

impl Instance {
    /// If there is no usable tracefs, reports that the test is skipped and returns `None`.
    pub fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ring-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(TRACEFS).join("instances").join(name);
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) => {
                skip(&format!("{}: {error}", path.display()));
                return None;
            }
        }
        let instance = Self { path };
        instance.set("options/hash-ptr", "0");
        Some(instance)
    }

    pub fn set(&self, file: &str, value: &str) {
        let path = self.path.join(file);
        fs::write(&path, value).unwrap_or_else(|error| panic!("{} = {value}: {error}", path.display()));
    }

    pub fn get(&self, file: &str) -> String {
        let path = self.path.join(file);
        String::from_utf8_lossy(
            &fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        )
        .into_owned()
    }

    /// The lines of `trace`, without its header.
    pub fn trace(&self) -> Vec<String> {
        kernel_lines(&self.path)
    }

    /// The records in the ring buffer, formatted by this crate.
    pub fn formatted(&self) -> (Vec<String>, Formatter) {
        let mut formatter = Formatter::open(Path::new(TRACEFS), &self.path).unwrap();
        let mut ring = RingBuffer::open(&self.path).unwrap();
        let mut timeline = Timeline::new(ring.layout());
        while !ring.collect(|page| timeline.push(page.cpu, page.bytes)).unwrap().drained {}
        timeline.finish();
        let mut text = Vec::new();
        while let Some(item) = timeline.next() {
            match item {
                Item::Record(record) => {
                    formatter.write_record(record.cpu, record.stamp, record.data, &mut text)
                }
                Item::Lost(gap) => Formatter::write_gap(gap.cpu, gap.count, &mut text),
            }
        }
        assert_eq!(timeline.damaged(), 0);
        (String::from_utf8_lossy(&text).lines().map(str::to_owned).collect(), formatter)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = fs::write(self.path.join("tracing_on"), "0");
        let start = Instant::now();
        while let Err(error) = fs::remove_dir(&self.path) {
            if start.elapsed() > Duration::from_secs(5) {
                let _ = writeln!(std::io::stderr(), "{}: {error}", self.path.display());
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The lines of an instance's `trace`, without its header. The names in them may contain any bytes.
pub fn kernel_lines(instance: &Path) -> Vec<String> {
    let text = fs::read(instance.join("trace")).unwrap();
    let text = String::from_utf8_lossy(&text);
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// The result of comparing formatted lines with the kernel's.
#[derive(Default)]
pub struct Comparison {
    /// The number of equal lines, by event.
    pub same: BTreeMap<String, usize>,
    /// Pairs of different lines, the kernel's first.
    pub different: Vec<(String, String)>,
}

impl Comparison {
    /// Compares line by line. The task names may differ if the kernel's is missing, or is that of an earlier task with the
    /// same pid: the kernel saves names only while events are recorded.
    pub fn of(kernel_lines: &[String], our_lines: &[String]) -> Self {
        let mut comparison = Self::default();
        let kernel_lines = with_newlines_replaced(kernel_lines, our_lines);
        let mut names = TaskNames::new(&kernel_lines);
        for (kernel_line, our_line) in kernel_lines.iter().zip(our_lines) {
            let mut name_may_differ =
                || kernel_line.trim_start().starts_with("<...>-") || names.is_correct_in(our_line);
            if kernel_line == our_line || kernel_line.get(16..) == our_line.get(16..) && name_may_differ() {
                *comparison.same.entry(event_of(our_line)).or_default() += 1;
            } else {
                comparison.different.push((kernel_line.clone(), our_line.clone()));
            }
        }
        if kernel_lines.len() != our_lines.len() {
            let count = |lines: &[String]| format!("{} lines", lines.len());
            comparison.different.push((count(&kernel_lines), count(our_lines)));
        }
        comparison
    }

    /// The pairs that differ in more than the name of the task. The kernel prints the current name, not the name at the time
    /// of the event.
    pub fn different_except_names(&self) -> Vec<(String, String)> {
        let differ =
            |(kernel_line, our_line): &&(String, String)| kernel_line.get(16..) != our_line.get(16..);
        self.different.iter().filter(differ).cloned().collect()
    }

    pub fn report(&self) -> String {
        let mut report = String::new();
        for (kernel_line, our_line) in self.different.iter().take(10) {
            report += &format!("kernel {kernel_line}\nours   {our_line}\n");
        }
        report
    }
}

/// The kernel's lines, with newlines in task names replaced by `?`, as in the formatted lines.
fn with_newlines_replaced(kernel_lines: &[String], our_lines: &[String]) -> Vec<String> {
    let mut rest = kernel_lines.iter().cloned();
    let mut joined = Vec::new();
    for our_line in our_lines {
        let Some(mut line) = rest.next() else { break };
        while our_line.chars().nth(line.chars().count()) == Some('?') {
            let Some(next) = rest.next() else { break };
            line += &format!("?{next}");
        }
        joined.push(line);
    }
    joined.extend(rest);
    joined
}

/// The names of tasks, from procfs and from the kernel's lines.
struct TaskNames<'a> {
    kernel_lines: &'a [String],
    /// Whether a name is correct, by name and pid.
    looked_up: HashMap<(String, String), bool>,
}

impl<'a> TaskNames<'a> {
    fn new(kernel_lines: &'a [String]) -> Self {
        Self { kernel_lines, looked_up: HashMap::new() }
    }

    /// Whether the line starts with the correct name of its task.
    fn is_correct_in(&mut self, line: &str) -> bool {
        let Some((name, rest)) = line.split_at_checked(16) else { return false };
        let name = name.trim_start().to_owned();
        let task = rest.trim_start_matches('-').split_whitespace().next().unwrap_or_default().to_owned();
        let kernel_lines = self.kernel_lines;
        *self.looked_up.entry((name, task)).or_insert_with_key(|(name, task)| {
            let comm = fs::read_to_string(Path::new("/proc").join(task).join("comm"));
            let fields = ["", "prev_", "next_"].map(|prefix| format!("comm={name} {prefix}pid={task} "));
            comm.is_ok_and(|comm| comm.trim_end() == name)
                || kernel_lines.iter().any(|line| fields.iter().any(|field| line.contains(field)))
        })
    }
}

/// The word after the time stamp: the name of the event or of the system call.
fn event_of(line: &str) -> String {
    let event = line.split(": ").nth(1).unwrap_or_default();
    event.split(['(', ' ', ':']).next().unwrap_or_default().to_owned()
}

/// Operations of many kinds, which cause many events.
pub fn workload(directory: &Path) {
    files(directory);
    processes();
    sockets(directory);
    memory();
    mounts(directory);
    std::thread::sleep(Duration::from_millis(5));
}

/// Operations on files and sockets only, all in the calling thread.
pub fn single_thread_workload(directory: &Path) {
    files(directory);
    sockets(directory);
}

fn files(directory: &Path) {
    let path = directory.join("a file with blanks");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(&vec![7; 300_000]).unwrap();
    file.sync_all().unwrap();
    file.set_len(1000).unwrap();
    fs::rename(&path, directory.join("renamed")).unwrap();
    let _ = fs::read(directory.join("renamed"));
    std::os::unix::fs::symlink("renamed", directory.join("link")).unwrap();
    let _ = fs::hard_link(directory.join("renamed"), directory.join("hard"));
    for name in ["renamed", "link", "hard"] {
        let _ = fs::remove_file(directory.join(name));
    }
    let _ = fs::read("/proc/self/maps");
    let _ = fs::read("/sys/kernel/btf/vmlinux");
}

fn processes() {
    let commands = [
        "true",
        "ls / > /dev/null",
        "kill -USR1 $$",
        "(sleep 0.01 & wait)",
        "ulimit -c 0; kill -SEGV $$",
        "nice -n 5 true; taskset 1 true; ionice true; chrt -f 1 true",
        "exec 3<>/dev/null; umask 077; cd /tmp",
        "dd if=/dev/zero of=/dev/null bs=1M count=5 2>/dev/null",
        "timeout 0.01 sleep 1",
    ];
    for command in commands {
        let mut shell = std::process::Command::new("sh");
        let _ = shell.args(["-c", command]).stderr(std::process::Stdio::null()).status();
    }
    let threads: Vec<_> =
        (0..4).map(|_| std::thread::spawn(|| std::thread::sleep(Duration::from_millis(2)))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn sockets(directory: &Path) {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address) else { continue };
        let Ok(mut stream) = TcpStream::connect(listener.local_addr().unwrap()) else { continue };
        let (mut peer, _) = listener.accept().unwrap();
        let _ = stream.write_all(&[1; 5000]);
        let _ = std::io::Read::read(&mut peer, &mut [0; 5000]);
        drop(stream);
        drop(peer);
        let Ok(socket) = UdpSocket::bind(address) else { continue };
        let _ = socket.send_to(b"hello", socket.local_addr().unwrap());
        let _ = socket.send_to(b"unreachable", address.replace(":0", ":9"));
    }
    let _ = TcpStream::connect("127.0.0.1:1");
    let listener = std::os::unix::net::UnixListener::bind(directory.join("socket")).unwrap();
    let _ = UnixStream::connect(directory.join("socket")).map(|mut stream| stream.write_all(b"hello"));
    drop(listener);
    let _ = fs::remove_file(directory.join("socket"));
}

fn memory() {
    let mut pages = vec![0u8; 8 << 20];
    pages.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::hint::black_box(&pages);
}

fn mounts(directory: &Path) {
    use nix::mount::{MsFlags, mount, umount};
    let target = directory.join("mounted");
    fs::create_dir_all(&target).unwrap();
    if mount(Some("tmpfs"), &target, Some("tmpfs"), MsFlags::empty(), None::<&str>).is_ok() {
        let _ = fs::write(target.join("file"), "text");
        umount(&target).unwrap();
    }
}

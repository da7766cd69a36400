//! The attempts. `ESCAPE_DIRECTORY` in the environment is the directory to change, with all that the attempts need; without the
//! variable there are no attempts. Each can be repeated, and has no effect outside of that directory.

use std::env;
use std::ffi::{CStr, CString};
use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use crate::system_call::{Argument, call, system_call};

type Outcome = Result<(), Errno>;
type Attempt = fn(&Site) -> Outcome;

/// Where an attempt is made, and what it tries to change.
struct Site {
    directory: String,
    run_directory: String,
    plugin: String,
    /// A tracing instance's directory.
    instance: String,
    /// An unrelated process.
    victim: i32,
    phase: &'static str,
}

/// Makes all attempts, and returns their results.
pub fn all(phase: &'static str) -> Vec<String> {
    let variable = |name| env::var(name).unwrap_or_default();
    let Ok(directory) = env::var("ESCAPE_DIRECTORY") else { return Vec::new() };
    let site = Site {
        directory,
        run_directory: variable("TRACER_RUN_PATH"),
        plugin: variable("ESCAPE_PLUGIN"),
        instance: variable("ESCAPE_INSTANCE"),
        victim: variable("ESCAPE_VICTIM").parse().unwrap_or(libc::pid_t::MAX),
        phase,
    };
    let result = |(name, attempt): &(&str, Attempt)| {
        let errno = attempt(&site).err().map_or(0, |errno| errno as i32);
        format!("{phase}/{name}={errno}")
    };
    ATTEMPTS.iter().map(result).collect()
}

const ATTEMPTS: &[(&str, Attempt)] = &[
    // Files
    ("write", |site| open(&site.path("file"), libc::O_WRONLY).map(drop)),
    ("write-and-read", |site| open(&site.path("file"), libc::O_RDWR).map(drop)),
    ("truncate-on-open", |site| open(&site.path("file"), libc::O_TRUNC).map(drop)),
    ("truncate", |site| done(call!(SYS_truncate, &*site.path("file"), 3))),
    ("create", |site| make(&site.new_path())),
    ("create-in-run-directory", |site| make(&text(format!("{}/{}", site.run_directory, site.new_name())))),
    ("create-in-tmp", |site| make(&text(format!("{}/{}", env::temp_dir().display(), site.new_name())))),
    ("create-nameless", |site| open(&site.path("."), libc::O_TMPFILE | libc::O_RDWR).map(drop)),
    ("create-by-openat2", |site| {
        let mut how = words(&[(libc::O_CREAT | libc::O_WRONLY) as u64, 0o600, 0]);
        let path = site.new_path();
        let fd = call!(SYS_openat2, libc::AT_FDCWD, &*path, &mut how[..], 24)?;
        drop(owned(fd));
        remove(&path)
    }),
    ("rename", |site| {
        let [from, to] = [site.path("file"), site.new_path()];
        rename(&from, &to)?;
        rename(&to, &from)
    }),
    ("link", |site| {
        let to = site.new_path();
        call!(SYS_linkat, libc::AT_FDCWD, &*site.path("file"), libc::AT_FDCWD, &*to, 0)?;
        remove(&to)
    }),
    ("symlink", |site| {
        let to = site.new_path();
        call!(SYS_symlinkat, c"/", libc::AT_FDCWD, &*to)?;
        remove(&to)
    }),
    ("mkdir", |site| {
        let path = site.new_path();
        call!(SYS_mkdirat, libc::AT_FDCWD, &*path, 0o700)?;
        done(call!(SYS_unlinkat, libc::AT_FDCWD, &*path, libc::AT_REMOVEDIR))
    }),
    ("mkfifo", |site| {
        let path = site.new_path();
        call!(SYS_mknodat, libc::AT_FDCWD, &*path, libc::S_IFIFO | 0o600, 0)?;
        remove(&path)
    }),
    ("delete", |site| remove(&site.path(&format!("for-{}", site.phase)))),
    ("chmod", |site| done(call!(SYS_fchmodat, libc::AT_FDCWD, &*site.path("file"), 0o777))),
    ("chmod-by-fchmodat2", |site| {
        // The same number on all machines, but libc has it for some only.
        const FCHMODAT2: libc::c_long = 452;
        let path = site.path("file");
        let mode = Argument::from(0o777);
        done(system_call(FCHMODAT2, [libc::AT_FDCWD.into(), Argument::from(&*path), mode, 0.into()]))
    }),
    ("chmod-what-is-open", |site| {
        let file = site.readable_file()?;
        done(call!(SYS_fchmod, number(&file), 0o755))
    }),
    ("chown", |site| done(call!(SYS_fchownat, libc::AT_FDCWD, &*site.path("file"), 0, 0, 0))),
    ("touch", |site| done(call!(SYS_utimensat, libc::AT_FDCWD, &*site.path("file"), 0, 0))),
    ("set-attribute", |site| {
        let path = site.path("file");
        done(call!(SYS_setxattr, &*path, c"user.escape", c"here", 4, 0))
    }),
    ("set-flags", |site| {
        let file = site.readable_file()?;
        // FS_IOC_SETFLAGS, FS_NODUMP_FL (linux/fs.h)
        let mut flags = 0x40_u64.to_ne_bytes();
        done(call!(SYS_ioctl, number(&file), 0x4008_6602_u32, &mut flags[..]))
    }),
    ("lock", |site| {
        let file = site.readable_file()?;
        done(call!(SYS_flock, number(&file), libc::LOCK_EX))
    }),
    ("write-own-plugin", |site| open(&text(&*site.plugin), libc::O_WRONLY | libc::O_NONBLOCK).map(drop)),
    ("chmod-own-plugin", |site| done(call!(SYS_fchmodat, libc::AT_FDCWD, &*text(&*site.plugin), 0o755))),
    // Reading
    ("read-file-of-user", |site| read(&site.path("file"))),
    ("list-directory-of-user", |site| read(&site.path("."))),
    ("list-run-directory", |site| read(&text(&*site.run_directory))),
    ("open-fifo", |site| read(&site.path("fifo"))),
    ("open-terminal", |_| read(c"/dev/ptmx")),
    ("open-device", |_| read(c"/dev/zero")),
    ("descriptor-of-supervisor", |_| read(&text(format!("/proc/{}/fd/0", parent())))),
    ("read-trace", |site| read(&site.in_instance("trace"))),
    ("read-trace-pipe", |site| read(&site.in_instance("trace_pipe"))),
    ("read-ring-buffer", |site| read(&site.in_instance("per_cpu/cpu0/trace_pipe_raw"))),
    ("read-library", |_| read(c"/proc/self/root/usr/lib")),
    ("read-procfs", |_| read(c"/proc/1/stat")),
    ("read-sysfs", |_| read(c"/sys/devices/system/cpu/online")),
    ("read-format", |site| read(&site.in_instance("../../events/sched/sched_switch/format"))),
    ("read-events", |site| read(&site.in_instance("../../available_events"))),
    // Sockets
    ("internet-socket", |_| socket(libc::AF_INET, libc::SOCK_STREAM).map(drop)),
    ("datagram-socket", |_| socket(libc::AF_INET6, libc::SOCK_DGRAM).map(drop)),
    ("netlink-socket", |_| socket(libc::AF_NETLINK, libc::SOCK_RAW).map(drop)),
    ("packet-socket", |_| socket(libc::AF_PACKET, libc::SOCK_RAW).map(drop)),
    ("unix-connect", |site| {
        let socket = socket(libc::AF_UNIX, libc::SOCK_STREAM)?;
        let mut address = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
        address.extend(site.path("socket").as_bytes_with_nul());
        let length = address.len() as u32;
        done(call!(SYS_connect, number(&socket), &mut address[..], length))
    }),
    // The kernel's tracing
    ("mark-trace", |site| write(&site.in_instance("trace_marker"), b"escape")),
    ("switch-tracing", |site| {
        write(&site.in_instance("tracing_on"), b"0")?;
        write(&site.in_instance("tracing_on"), b"1")
    }),
    ("enable-event", |site| write(&site.in_instance("events/sched/sched_switch/enable"), b"1")),
    ("set-event", |site| write(&site.in_instance("set_event"), b"sched:sched_waking\n")),
    ("clear-trace", |site| open(&site.in_instance("trace"), libc::O_WRONLY | libc::O_TRUNC).map(drop)),
    ("define-uprobe", |site| {
        let probes = site.in_instance("../../uprobe_events");
        let name = site.new_name().replace('.', "_");
        write(&probes, format!("p:escape/{name} /bin/true:0x1000\n").as_bytes())?;
        write(&probes, format!("-:escape/{name}\n").as_bytes())
    }),
    ("make-instance", |site| {
        let path = site.in_instance(&format!("../{}", site.new_name()));
        call!(SYS_mkdirat, libc::AT_FDCWD, &*path, 0o700)?;
        done(call!(SYS_unlinkat, libc::AT_FDCWD, &*path, libc::AT_REMOVEDIR))
    }),
    ("load-bpf", |_| load_bpf().map(drop)),
    ("attach-bpf", |_| {
        let program = load_bpf()?;
        // struct { name, prog_fd } of BPF_RAW_TRACEPOINT_OPEN (linux/bpf.h)
        let name = c"sched_switch".as_ptr() as u64;
        let mut attributes = words(&[name, number(&program) as u64]);
        call!(SYS_bpf, 17, &mut attributes[..], 16).map(owned).map(drop)
    }),
    ("watch-all-tasks", |_| perf_event(-1, 0).map(drop)),
    ("watch-victim", |site| perf_event(site.victim, -1).map(drop)),
    // Other processes
    ("signal-supervisor", |_| done(call!(SYS_kill, parent(), libc::SIGWINCH))),
    ("signal-all", |_| done(call!(SYS_kill, -1, 0))),
    ("signal-victim", |site| done(call!(SYS_kill, site.victim, libc::SIGWINCH))),
    ("signal-thread", |site| done(call!(SYS_tkill, site.victim, libc::SIGWINCH))),
    ("queue-signal", |site| {
        let pidfd = owned(call!(SYS_pidfd_open, site.victim, 0)?);
        done(call!(SYS_pidfd_send_signal, number(&pidfd), libc::SIGWINCH, 0, 0))
    }),
    ("trace-supervisor", |_| seize(parent())),
    ("trace-victim", |site| seize(site.victim)),
    ("memory-of-victim", |site| open(&text(format!("/proc/{}/mem", site.victim)), libc::O_RDWR).map(drop)),
    ("limit-victim", |site| {
        let mut limits = words(&[1024, 1024]);
        done(call!(SYS_prlimit64, site.victim, libc::RLIMIT_CORE, &mut limits[..], 0))
    }),
    ("fork", |_| in_child(|| Ok(()))),
    // If it succeeds without a child, no process is left to report it; the test notices that.
    ("execute", |_| in_child_or_here(execute)),
    ("leave-group", |_| in_child_or_here(|| done(call!(SYS_setsid)))),
    // The machine
    ("mount", |site| {
        let place = site.path("mountpoint");
        call!(SYS_mount, c"none", &*place, c"tmpfs", 0, 0)?;
        done(call!(SYS_umount2, &*place, libc::MNT_DETACH))
    }),
    ("chroot", |_| in_child_or_here(|| done(call!(SYS_chroot, c"/")))),
    ("new-mounts", |_| in_child_or_here(|| done(call!(SYS_unshare, libc::CLONE_NEWNS)))),
    ("new-user-namespace", |_| in_child_or_here(|| done(call!(SYS_unshare, libc::CLONE_NEWUSER)))),
    ("hostname", |_| {
        let name = nix::sys::utsname::uname()?.nodename().to_owned();
        let name = CString::new(name.as_encoded_bytes()).map_err(|_| Errno::EINVAL)?;
        done(call!(SYS_sethostname, &*name, name.count_bytes() as u64))
    }),
    ("become-user", |_| in_child_or_here(|| done(call!(SYS_setuid, 65534)))),
    ("kernel-key", |_| done(call!(SYS_add_key, c"user", c"escape", c"key", 3, -1))),
    ("io-uring", |_| call!(SYS_io_uring_setup, 1, &mut [0; 120][..]).map(owned).map(drop)),
    ("userfaultfd", |_| call!(SYS_userfaultfd, 0).map(owned).map(drop)),
    ("memory-file", |_| call!(SYS_memfd_create, c"escape", 0).map(owned).map(drop)),
];

impl Site {
    fn path(&self, name: &str) -> CString {
        text(format!("{}/{name}", self.directory))
    }

    /// In discovery, the plugin is the only file that can be read.
    fn readable_file(&self) -> Result<OwnedFd, Errno> {
        let flags = libc::O_RDONLY;
        open(&self.path("file"), flags).or_else(|_| open(&text(&*self.plugin), flags))
    }

    fn new_path(&self) -> CString {
        self.path(&self.new_name())
    }

    fn new_name(&self) -> String {
        format!("escape.{}.{}", self.phase, std::process::id())
    }

    fn in_instance(&self, file: &str) -> CString {
        text(format!("{}/{file}", self.instance))
    }
}

fn text(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).unwrap_or_default()
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn done(result: Result<i32, Errno>) -> Outcome {
    result.map(drop)
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: a system call has just returned it, so nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn number(fd: &OwnedFd) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(fd)
}

fn open(path: &CStr, flags: i32) -> Result<OwnedFd, Errno> {
    call!(SYS_openat, libc::AT_FDCWD, path, flags, 0o600).map(owned)
}

/// Opens a file or directory for reading, without waiting for a writer.
fn read(path: &CStr) -> Outcome {
    open(path, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY).map(drop)
}

fn make(path: &CStr) -> Outcome {
    drop(open(path, libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY)?);
    remove(path)
}

fn write(path: &CStr, content: &[u8]) -> Outcome {
    let file = open(path, libc::O_WRONLY)?;
    let length = content.len() as u64;
    done(call!(SYS_write, number(&file), &mut content.to_vec()[..], length))
}

fn remove(path: &CStr) -> Outcome {
    done(call!(SYS_unlinkat, libc::AT_FDCWD, path, 0))
}

fn rename(from: &CStr, to: &CStr) -> Outcome {
    done(call!(SYS_renameat2, libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0))
}

fn socket(family: i32, kind: i32) -> Result<OwnedFd, Errno> {
    call!(SYS_socket, family, kind, 0).map(owned)
}

fn parent() -> i32 {
    nix::unistd::getppid().as_raw()
}

fn seize(process: i32) -> Outcome {
    in_child_or_here(|| done(call!(SYS_ptrace, libc::PTRACE_SEIZE, process, 0, 0)))
}

/// A program that returns 0, for raw tracepoints.
fn load_bpf() -> Result<OwnedFd, Errno> {
    // r0 = 0; exit (linux/bpf.h)
    let code: [u64; 2] = [0xb7, 0x95];
    let licence = c"GPL";
    // struct { prog_type: BPF_PROG_TYPE_RAW_TRACEPOINT, insn_cnt, insns, license, … }
    let mut attributes = words(&[17 | 2 << 32, code.as_ptr() as u64, licence.as_ptr() as u64, 0, 0, 0]);
    call!(SYS_bpf, 5, &mut attributes[..], 48).map(owned)
}

/// A clock of this process on this CPU; -1 means all of them.
fn perf_event(process: i32, cpu: i32) -> Result<OwnedFd, Errno> {
    // struct perf_event_attr { type: PERF_TYPE_SOFTWARE, size: PERF_ATTR_SIZE_VER0, … }
    let mut attributes = words(&[1 | 64 << 32, 0, 0, 0, 0, 0, 0, 0]);
    call!(SYS_perf_event_open, &mut attributes[..], process, cpu, -1, 0).map(owned)
}

fn execute() -> Outcome {
    let program = c"/bin/true";
    let mut arguments = words(&[program.as_ptr() as u64, 0]);
    done(call!(SYS_execve, program, &mut arguments[..], 0))
}

/// Changes that cannot be undone are made in a child, if a fork is allowed.
fn in_child_or_here(act: impl Fn() -> Outcome) -> Outcome {
    match in_child(&act) {
        Err(Errno::EPERM) => act(),
        outcome => outcome,
    }
}

fn in_child(act: impl FnOnce() -> Outcome) -> Outcome {
    let child = call!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0)?;
    if child == 0 {
        let status = act().err().map_or(0, |errno| errno as i32);
        // SAFETY: it ends this child at once.
        unsafe { libc::_exit(status) }
    }
    let mut status = [0; 4];
    call!(SYS_wait4, child, &mut status[..], 0, 0)?;
    match libc::WEXITSTATUS(i32::from_ne_bytes(status)) {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno)),
    }
}

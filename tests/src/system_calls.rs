//! Records every system call of a manager and of its workers, and makes one of them fail or be the last.
//!
//! The kernel notifies this process before it executes a call (seccomp_unotify(2)), so a failure or death is injected at
//! an exact system call, independent of timing.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::unistd::Pid;

use crate::wait_until;

/// Identifies a system call of a run, and the same one in another run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SystemCall {
    /// 0 is the supervisor, 1 its first worker, and so on.
    pub process: usize,
    /// 0 is the main thread.
    pub thread: usize,
    number: libc::c_long,
    /// The number of calls of this kind that the thread made before.
    nth: usize,
}

/// What is injected at a system call.
#[derive(Debug, Clone)]
pub enum Fate {
    /// It fails with this error, and is not executed.
    Fails(Errno),
    /// Before it, these processes are killed, if they exist.
    Kills(Vec<usize>),
}

/// Records all system calls of a call of the manager.
pub struct Watch {
    watcher: JoinHandle<Seen>,
}

/// What a [`Watch`] has recorded.
#[derive(Debug, Default)]
pub struct Seen {
    /// All system calls, in order.
    pub calls: Vec<SystemCall>,
    /// Whether the system call for the injection was among them.
    pub happened: bool,
}

impl SystemCall {
    /// Its name in the manual pages.
    pub fn name(&self) -> &'static str {
        let all = NAMES.iter().chain(OLD_NAMES);
        all.copied()
            .find(|(number, _)| *number == self.number)
            .map_or("other", |(_, name)| &name["SYS_".len()..])
    }
}

impl fmt::Display for SystemCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, thread, number, nth } = self;
        write!(f, "{} ({number}) number {nth} of thread {thread} of process {process}", self.name())
    }
}

impl Watch {
    /// Also returns the function to call in the child that is watched.
    pub(crate) fn new(
        at: Option<(SystemCall, Fate)>,
    ) -> (Self, impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair can be created");
        let watcher = std::thread::spawn(move || match receive(&ours) {
            Some(listener) => Watcher {
                listener,
                at,
                tasks: HashMap::new(),
                processes: Vec::new(),
                counts: HashMap::new(),
                seen: Seen::default(),
            }
            .watch(),
            None => Seen::default(),
        });
        (Self { watcher }, move || Ok(send(&theirs, begin()?)?))
    }

    /// Waits until the last process has ended; returns what was recorded.
    #[track_caller]
    pub fn ends(self, limit: Duration) -> Seen {
        wait_until("all processes of the manager have ended", limit, || self.watcher.is_finished());
        self.watcher.join().expect("the watcher does not panic")
    }
}

/// The thread that answers the kernel's notifications.
struct Watcher {
    listener: OwnedFd,
    at: Option<(SystemCall, Fate)>,
    /// Process and thread by thread id.
    tasks: HashMap<u32, (usize, usize)>,
    /// For each process its id and the number of threads it has had.
    processes: Vec<(u32, usize)>,
    counts: HashMap<(u32, libc::c_long), usize>,
    seen: Seen,
}

impl Watcher {
    fn watch(mut self) -> Seen {
        loop {
            let mut fds = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::NONE);
            let events = fds[0].revents().unwrap_or(PollFlags::empty());
            if events.contains(PollFlags::POLLIN) {
                self.answer();
            } else if events.contains(PollFlags::POLLHUP) {
                return self.seen;
            }
        }
    }

    fn answer(&mut self) {
        // SAFETY: all zeros are a value of this type, and what the kernel requires.
        let mut question: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one `seccomp_notif`, to `question`, which lives until the call returns.
        if unsafe {
            libc::ioctl(self.listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &mut question)
        } != 0
        {
            // The calling thread has died.
            return;
        }
        let call = self.identify(question.pid, question.data.nr.into());
        let mut answer = libc::seccomp_notif_resp {
            id: question.id,
            val: 0,
            error: 0,
            flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        };
        self.seen.calls.push(call);
        if let Some((at, fate)) = &self.at
            && *at == call
        {
            self.seen.happened = true;
            match fate {
                Fate::Fails(errno) => (answer.error, answer.flags) = (-(*errno as i32), 0),
                Fate::Kills(victims) => victims.iter().for_each(|victim| self.kill(*victim)),
            }
        }
        // SAFETY: the kernel reads one `seccomp_notif_resp`. It fails if the calling thread has died, which is fine.
        unsafe { libc::ioctl(self.listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &mut answer) };
    }

    fn kill(&self, victim: usize) {
        if let Some((pid, _)) = self.processes.get(victim) {
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
    }

    fn identify(&mut self, task: u32, number: libc::c_long) -> SystemCall {
        let (process, thread) = match self.tasks.get(&task) {
            Some(known) => *known,
            None => self.identify_thread(task),
        };
        let count = self.counts.entry((task, number)).or_default();
        let nth = *count;
        *count += 1;
        SystemCall { process, thread, number, nth }
    }

    fn identify_thread(&mut self, task: u32) -> (usize, usize) {
        let status = fs::read_to_string(format!("/proc/{task}/status")).unwrap_or_default();
        let group =
            status.lines().find_map(|line| line.strip_prefix("Tgid:\t")?.parse().ok()).unwrap_or(task);
        let process = match self.processes.iter().position(|(pid, _)| *pid == group) {
            Some(process) => process,
            None => {
                self.processes.push((group, 0));
                self.processes.len() - 1
            }
        };
        let thread = self.processes[process].1;
        self.processes[process].1 += 1;
        self.tasks.insert(task, (process, thread));
        (process, thread)
    }
}

/// In the child: has the kernel notify the holder of the returned descriptor before each system call, except the one
/// that sends the descriptor away.
fn begin() -> io::Result<OwnedFd> {
    let instruction = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, 0, libc::SYS_sendmsg as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the calls take plain numbers, and a program that lives until they return.
    unsafe {
        // Required of unprivileged processes.
        if libc::geteuid() != 0 {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        }
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        match libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &program) {
            fd if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd as RawFd)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// The descriptor stays open here, because closing it would already be notified. `execve` closes it.
fn send(socket: &UnixStream, listener: OwnedFd) -> nix::Result<()> {
    let descriptor = [std::mem::ManuallyDrop::new(listener).as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptor)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(b"!")], &rights, MsgFlags::empty(), None).map(drop)
}

fn receive(socket: &UnixStream) -> Option<OwnedFd> {
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut bytes, Some(&mut space), MsgFlags::empty()).ok()?;
    match received.cmsgs().ok()?.next()? {
        // SAFETY: the kernel has just made this descriptor for this process, and nothing else owns it.
        ControlMessageOwned::ScmRights(fds) => Some(unsafe { OwnedFd::from_raw_fd(*fds.first()?) }),
        _ => None,
    }
}

macro_rules! named {
    ($($number:ident)*) => {
        &[$((libc::$number, stringify!($number))),*]
    };
}

/// The calls that a manager makes or could make.
const NAMES: &[(libc::c_long, &str)] = named![
    SYS_accept4 SYS_bind SYS_bpf SYS_brk SYS_capget SYS_capset SYS_chdir SYS_clock_nanosleep SYS_clone SYS_clone3 SYS_close
    SYS_close_range SYS_connect SYS_dup SYS_dup3 SYS_execve SYS_exit SYS_exit_group SYS_faccessat SYS_faccessat2
    SYS_fadvise64 SYS_fallocate SYS_fcntl SYS_fdatasync SYS_flock SYS_fstat SYS_fsync SYS_ftruncate SYS_futex SYS_getcwd
    SYS_getdents64 SYS_geteuid SYS_getpid SYS_getppid SYS_getrandom SYS_gettid SYS_getuid SYS_ioctl SYS_kill
    SYS_landlock_add_rule SYS_landlock_create_ruleset SYS_landlock_restrict_self SYS_lseek SYS_madvise SYS_memfd_create
    SYS_mkdirat SYS_mknodat SYS_mmap SYS_mount SYS_mprotect SYS_mremap SYS_munmap SYS_newfstatat SYS_openat SYS_pidfd_open
    SYS_pidfd_send_signal SYS_pipe2 SYS_ppoll SYS_prctl SYS_pread64 SYS_prlimit64 SYS_pwrite64 SYS_read SYS_readlinkat
    SYS_recvfrom SYS_renameat2 SYS_restart_syscall SYS_rseq SYS_rt_sigaction SYS_rt_sigprocmask
    SYS_rt_sigreturn SYS_sched_getaffinity SYS_sched_setaffinity SYS_sched_yield SYS_seccomp SYS_sendto
    SYS_set_robust_list SYS_set_tid_address SYS_setpgid SYS_setpriority SYS_setsid SYS_sigaltstack SYS_socket
    SYS_socketpair SYS_splice SYS_statfs SYS_statx SYS_sysinfo SYS_tgkill SYS_umask SYS_uname SYS_unlinkat SYS_vmsplice
    SYS_wait4 SYS_waitid SYS_write SYS_writev
];

/// Calls that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
const OLD_NAMES: &[(libc::c_long, &str)] = named![
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_dup2 SYS_fork SYS_getdents SYS_lstat SYS_mkdir SYS_mknod SYS_open
    SYS_pipe SYS_poll SYS_readlink SYS_rename SYS_rmdir SYS_stat SYS_unlink SYS_vfork
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_NAMES: &[(libc::c_long, &str)] = &[];

//! Many different calls. Those that exist on both architectures come first.

use std::ffi::CString;
use std::io;

use nix::libc;

use crate::call;

const NONE: i64 = 0;
const HERE: i32 = libc::AT_FDCWD;

/// Makes the calls in this empty directory.
pub fn all(directory: &str) -> io::Result<()> {
    let directory = CString::new(directory)?;
    call!(SYS_chdir, directory.as_c_str());
    files();
    descriptors();
    attributes();
    times();
    sockets();
    memory();
    processes();
    signals();
    queries();
    refusals();
    #[cfg(target_arch = "x86_64")]
    older();
    Ok(())
}

fn files() {
    let mut text = *b"0123456789abcdefghijklmnopqrstuvwxyz\n\x01\xff\"\\";
    let mut room = [0u8; 400];
    call!(SYS_mkdirat, HERE, c"sub", 0o755);
    let file = call!(SYS_openat, HERE, c"file", libc::O_RDWR | libc::O_CREAT | libc::O_CLOEXEC, 0o640);
    call!(SYS_write, file, &mut text, text.len());
    call!(SYS_pwrite64, file, &mut text, 5, 3);
    call!(SYS_lseek, file, 2, libc::SEEK_SET);
    call!(SYS_read, file, &mut room, room.len());
    call!(SYS_read, file, &mut room, 10);
    call!(SYS_pread64, file, &mut room, 12, 1);
    let (mut left, mut right) = ([0u8; 4], [0u8; 50]);
    let mut vectors = [vector(&mut left), vector(&mut right)];
    call!(SYS_writev, file, &mut vectors, 2);
    call!(SYS_pwritev, file, &mut vectors, 2, 1, 0);
    call!(SYS_preadv, file, &mut vectors, 2, 0, 0);
    call!(SYS_preadv2, file, &mut vectors, 2, 0, 0, 0);
    call!(SYS_lseek, file, 0, libc::SEEK_SET);
    call!(SYS_readv, file, &mut vectors, 2);
    call!(SYS_ftruncate, file, 100);
    call!(SYS_truncate, c"file", 90);
    call!(SYS_fallocate, file, 0, 0, 200);
    call!(SYS_fsync, file);
    call!(SYS_fdatasync, file);
    call!(SYS_sync_file_range, file, 0, 10, libc::SYNC_FILE_RANGE_WRITE);
    call!(SYS_fadvise64, file, 0, 0, libc::POSIX_FADV_RANDOM);
    call!(SYS_readahead, file, 0, 10);
    call!(SYS_flock, file, libc::LOCK_EX | libc::LOCK_NB);
    call!(SYS_fchmod, file, 0o600);
    call!(SYS_fchmodat, HERE, c"file", 0o644);
    call!(SYS_fchown, file, -1, -1);
    call!(SYS_fchownat, HERE, c"file", -1, -1, libc::AT_SYMLINK_NOFOLLOW);
    call!(SYS_linkat, HERE, c"file", HERE, c"link", 0);
    call!(SYS_symlinkat, c"file", HERE, c"symbolic");
    call!(SYS_readlinkat, HERE, c"symbolic", &mut room, 100);
    call!(SYS_renameat2, HERE, c"link", HERE, c"renamed", libc::RENAME_NOREPLACE);
    call!(SYS_mknodat, HERE, c"fifo", libc::S_IFIFO | 0o600, 0);
    call!(SYS_unlinkat, HERE, c"fifo", 0);
    call!(SYS_unlinkat, HERE, c"sub", libc::AT_REMOVEDIR);
    call!(SYS_faccessat, HERE, c"file", libc::R_OK | libc::W_OK);
    call!(SYS_faccessat2, HERE, c"file", libc::X_OK, libc::AT_EACCESS);
    call!(SYS_getcwd, &mut room, room.len());
    let copy = call!(SYS_openat, HERE, c"copy", libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC, 0o600);
    let mut from = 3i64;
    call!(SYS_sendfile, copy, file, &mut from, 10);
    let mut at = 1i64;
    call!(SYS_copy_file_range, file, &mut at, copy, NONE, 5, 0);
    let mut how = [libc::O_RDONLY as u64, 0, libc::RESOLVE_BENEATH];
    call!(SYS_openat2, HERE, c"../outside", &mut how, 24);
    let inside = call!(SYS_openat2, HERE, c"file", &mut how, 24);
    call!(SYS_close, inside);
    call!(SYS_close_range, copy, copy, 0);
    let directory = call!(SYS_openat, HERE, c".", libc::O_RDONLY | libc::O_DIRECTORY);
    call!(SYS_fchdir, directory);
    call!(SYS_openat, directory, c"missing", libc::O_PATH);
    call!(SYS_close, directory);
    call!(SYS_unlinkat, HERE, c"renamed", 0);
    call!(SYS_umask, 0o22);
    call!(SYS_close, file);
}

fn vector(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

fn descriptors() {
    let mut pipe = [0i32; 2];
    call!(SYS_pipe2, &mut pipe, libc::O_CLOEXEC | libc::O_NONBLOCK);
    let [output, input] = pipe;
    call!(SYS_write, input, c"through a pipe", 14);
    let mut room = [0u8; 20];
    call!(SYS_read, output, &mut room, 20);
    call!(SYS_read, output, &mut room, 20);
    let other = call!(SYS_dup, output);
    call!(SYS_dup3, input, other, libc::O_CLOEXEC);
    call!(SYS_fcntl, other, libc::F_GETFD);
    call!(SYS_fcntl, other, libc::F_SETFD, 0);
    call!(SYS_fcntl, other, libc::F_SETFL, libc::O_NONBLOCK);
    call!(SYS_fcntl, other, libc::F_DUPFD_CLOEXEC, 50);
    let mut bytes = *b"gathered";
    let mut vectors = [vector(&mut bytes)];
    call!(SYS_vmsplice, input, &mut vectors, 1, 0);
    let mut second = [0i32; 2];
    call!(SYS_pipe2, &mut second, 0);
    call!(SYS_tee, output, second[1], 4, libc::SPLICE_F_NONBLOCK);
    call!(SYS_splice, output, NONE, second[1], NONE, 4, 0);
    let event = call!(SYS_eventfd2, 3, libc::EFD_CLOEXEC);
    let poll = call!(SYS_epoll_create1, libc::EPOLL_CLOEXEC);
    let mut wanted = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 7 };
    call!(SYS_epoll_ctl, poll, libc::EPOLL_CTL_ADD, event, &mut wanted);
    let mut events = [wanted; 4];
    call!(SYS_epoll_pwait, poll, &mut events, 4, 0, NONE, 8);
    let mut polled = [
        libc::pollfd { fd: event as i32, events: libc::POLLIN | libc::POLLPRI, revents: 0 },
        libc::pollfd { fd: -1, events: libc::POLLOUT, revents: 0 },
    ];
    let mut limit = [0i64, 1000];
    call!(SYS_ppoll, &mut polled, 2, &mut limit, NONE, 8);
    let mut set = [0u64; 16];
    set[0] = 1 << output | 1 << event;
    let mut limit = [0i64, 1000];
    call!(SYS_pselect6, event + 1, &mut set, NONE, NONE, &mut limit, NONE);
    let mut signals = 1u64 << (libc::SIGUSR1 - 1);
    let signal = call!(SYS_signalfd4, -1, &mut signals, 8, libc::SFD_NONBLOCK);
    let watch = call!(SYS_inotify_init1, libc::IN_CLOEXEC);
    let number = call!(SYS_inotify_add_watch, watch, c".", libc::IN_CREATE | libc::IN_DELETE);
    call!(SYS_inotify_rm_watch, watch, number);
    let memory = call!(SYS_memfd_create, c"name", libc::MFD_CLOEXEC);
    call!(SYS_fcntl, memory, libc::F_GET_SEALS);
    call!(SYS_ioctl, memory, 0x1234, 5);
    let process = call!(SYS_pidfd_open, std::process::id(), 0);
    call!(SYS_pidfd_send_signal, process, 0, NONE, 0);
    for descriptor in [memory, watch, signal, event, poll, process, other] {
        call!(SYS_close, descriptor);
    }
    for descriptor in pipe.into_iter().chain(second) {
        call!(SYS_close, descriptor);
    }
}

fn attributes() {
    let mut room = [0u64; 64];
    call!(SYS_newfstatat, HERE, c"file", &mut room, 0);
    call!(SYS_newfstatat, HERE, c"/dev/null", &mut room, libc::AT_SYMLINK_NOFOLLOW);
    let file = call!(SYS_openat, HERE, c"file", libc::O_RDONLY);
    call!(SYS_fstat, file, &mut room);
    call!(SYS_statx, HERE, c"file", 0, libc::STATX_ALL, &mut room);
    call!(SYS_statfs, c"/", &mut room);
    call!(SYS_fstatfs, file, &mut room);
    call!(SYS_setxattr, c"file", c"user.name", c"value", 5, libc::XATTR_CREATE);
    call!(SYS_getxattr, c"file", c"user.name", &mut room, 100);
    call!(SYS_fgetxattr, file, c"user.none", &mut room, 100);
    call!(SYS_lgetxattr, c"file", c"user.name", &mut room, 100);
    call!(SYS_removexattr, c"file", c"user.name");
    call!(SYS_close, file);
}

fn times() {
    let mut time = [0i64; 2];
    call!(SYS_clock_gettime, libc::CLOCK_MONOTONIC, &mut time);
    call!(SYS_clock_getres, libc::CLOCK_REALTIME, &mut time);
    let mut short = [0i64, 1000];
    call!(SYS_nanosleep, &mut short, NONE);
    call!(SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, 0, &mut short, NONE);
    let mut zone = [0i32; 2];
    call!(SYS_gettimeofday, &mut time, NONE);
    call!(SYS_gettimeofday, &mut time, &mut zone);
    let timer = call!(SYS_timerfd_create, libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC);
    let mut intervals = [1i64, 0, 100, 5];
    call!(SYS_timerfd_settime, timer, 0, &mut intervals, NONE);
    call!(SYS_close, timer);
    let mut values = [0i64, 0, 1000, 7];
    call!(SYS_setitimer, 0, &mut values, NONE);
    values[2] = 0;
    values[3] = 0;
    call!(SYS_setitimer, 0, &mut values, NONE);
    let mut stamps = [1i64, 2, 3, 4];
    call!(SYS_utimensat, HERE, c"file", &mut stamps, 0);
    call!(SYS_times, NONE);
}

fn sockets() {
    let mut address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let server = call!(SYS_socket, libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
    let mut one = 1i32;
    call!(SYS_setsockopt, server, libc::SOL_SOCKET, libc::SO_REUSEADDR, &mut one, 4);
    call!(SYS_bind, server, &mut address, 16);
    call!(SYS_listen, server, 5);
    let mut size = 16i32;
    call!(SYS_getsockname, server, &mut address, &mut size);
    let client = call!(SYS_socket, libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_TCP);
    call!(SYS_connect, client, &mut address, 16);
    let served = call!(SYS_accept4, server, &mut address, &mut size, libc::SOCK_NONBLOCK);
    call!(SYS_getpeername, served, &mut address, &mut size);
    call!(SYS_sendto, client, c"hello", 5, libc::MSG_NOSIGNAL, NONE, 0);
    let mut room = [0u8; 100];
    call!(SYS_recvfrom, served, &mut room, 100, 0, NONE, NONE);
    let mut error = 0i32;
    let mut error_size = 4i32;
    call!(SYS_getsockopt, client, libc::SOL_SOCKET, libc::SO_ERROR, &mut error, &mut error_size);
    call!(SYS_shutdown, client, libc::SHUT_WR);
    for socket in [client, served, server] {
        call!(SYS_close, socket);
    }
    let datagrams = call!(SYS_socket, libc::AF_INET6, libc::SOCK_DGRAM, 0);
    let mut six = libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as u16,
        sin6_port: 7u16.to_be(),
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] },
        sin6_scope_id: 0,
    };
    call!(SYS_sendto, datagrams, c"six", 3, 0, &mut six, 28);
    call!(SYS_connect, datagrams, &mut six, 28);
    call!(SYS_close, datagrams);
    local_sockets();
    let netlink = call!(SYS_socket, libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE);
    let mut own = [0u32; 3];
    own[0] = libc::AF_NETLINK as u32;
    call!(SYS_bind, netlink, &mut own, 12);
    let mut size = 12i32;
    call!(SYS_getsockname, netlink, &mut own, &mut size);
    call!(SYS_close, netlink);
}

fn local_sockets() {
    let mut pair = [0i32; 2];
    call!(SYS_socketpair, libc::AF_UNIX, libc::SOCK_DGRAM, 0, &mut pair);
    let (mut one, mut two) = (*b"abc", *b"defg");
    let mut vectors = [vector(&mut one), vector(&mut two)];
    // SAFETY: all zeros are a message without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = 2;
    call!(SYS_sendmsg, pair[0], &mut message, libc::MSG_DONTWAIT);
    let (mut short, mut long) = ([0u8; 2], [0u8; 100]);
    let mut room = [vector(&mut short), vector(&mut long)];
    message.msg_iov = room.as_mut_ptr();
    call!(SYS_recvmsg, pair[1], &mut message, 0);
    call!(SYS_recvmsg, pair[1], &mut message, libc::MSG_DONTWAIT);
    let mut address = [0u8; 110];
    address[0] = libc::AF_UNIX as u8;
    address[2..8].copy_from_slice(b"socket");
    let server = call!(SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0);
    call!(SYS_bind, server, &mut address, 110);
    call!(SYS_listen, server, 1);
    let client = call!(SYS_socket, libc::AF_UNIX, libc::SOCK_STREAM, 0);
    call!(SYS_connect, client, &mut address, 110);
    let served = call!(SYS_accept, server, NONE, NONE);
    call!(SYS_write, client, c"local", 5);
    for socket in [client, served, server] {
        call!(SYS_close, socket);
    }
    call!(SYS_unlinkat, HERE, c"socket", 0);
    call!(SYS_close, pair[0]);
    call!(SYS_close, pair[1]);
}

fn memory() {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let place = call!(SYS_mmap, NONE, 8192, access, kind, -1, 0);
    call!(SYS_mprotect, place, 4096, libc::PROT_READ);
    call!(SYS_madvise, place, 8192, libc::MADV_DONTNEED);
    call!(SYS_mlock, place, 4096);
    call!(SYS_mlock2, place, 4096, 1);
    call!(SYS_munlock, place, 4096);
    call!(SYS_msync, place, 4096, libc::MS_ASYNC);
    call!(SYS_munmap, place, 8192);
    let file = call!(SYS_openat, HERE, c"file", libc::O_RDONLY);
    let place = call!(SYS_mmap, NONE, 4096, libc::PROT_READ, libc::MAP_SHARED, file, 0);
    call!(SYS_munmap, place, 4096);
    call!(SYS_close, file);
    call!(SYS_brk, NONE);
    call!(SYS_membarrier, 0, 0, 0);
}

fn processes() {
    let mut resource = [0u64; 2];
    call!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE, NONE, &mut resource);
    call!(SYS_getrlimit, libc::RLIMIT_CORE, &mut resource);
    call!(SYS_setrlimit, libc::RLIMIT_CORE, &mut resource);
    let mut usage = [0u64; 18];
    call!(SYS_getrusage, libc::RUSAGE_SELF, &mut usage);
    let mut arguments = [0u64; 11];
    arguments[4] = libc::SIGCHLD as u64;
    let child = call!(SYS_clone3, &mut arguments, 88);
    if child == 0 {
        call!(SYS_exit_group, 3);
    }
    let mut status = 0i32;
    call!(SYS_wait4, child, &mut status, 0, &mut usage);
    call!(SYS_wait4, -1, &mut status, libc::WNOHANG, NONE);
    let child = call!(SYS_clone3, &mut arguments, 88);
    if child == 0 {
        // In memory that this process has written.
        let (name, text) = (*b"program\0", *b"a\"b\n\0");
        let mut words = [name.as_ptr(), text.as_ptr(), std::ptr::null()];
        call!(SYS_execve, c"/no/such/program", &mut words, NONE);
        call!(SYS_kill, std::process::id(), libc::SIGKILL);
    }
    let mut information = [0u8; 128];
    call!(SYS_waitid, libc::P_PID, child, &mut information, libc::WEXITED, NONE);
    call!(SYS_getpgid, 0);
    call!(SYS_getsid, 0);
    call!(SYS_setpgid, 0, 0);
    call!(SYS_getpriority, libc::PRIO_PROCESS, 0);
    call!(SYS_setpriority, libc::PRIO_PROCESS, 0, 0);
    call!(SYS_prctl, libc::PR_SET_NAME, c"renamed", 0, 0, 0);
    call!(SYS_prctl, libc::PR_GET_DUMPABLE, 0, 0, 0, 0);
    call!(SYS_sched_yield);
    call!(SYS_sched_getscheduler, 0);
    let mut parameters = 0i32;
    call!(SYS_sched_getparam, 0, &mut parameters);
    call!(SYS_sched_setscheduler, 0, libc::SCHED_OTHER, &mut parameters);
    call!(SYS_sched_get_priority_max, libc::SCHED_FIFO);
    let mut cpus = [0u64; 16];
    call!(SYS_sched_getaffinity, 0, 128, &mut cpus);
    call!(SYS_sched_setaffinity, 0, 128, &mut cpus);
    call!(SYS_unshare, libc::CLONE_FILES);
    let mut word = 1i32;
    call!(SYS_futex, &mut word, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
    let mut limit = [0i64, 1000];
    call!(SYS_futex, &mut word, libc::FUTEX_WAIT, 2, &mut limit);
    call!(SYS_kcmp, std::process::id(), std::process::id(), 0, 0, 1);
}

fn signals() {
    let mut action = [1u64, 0x1000_0000, 0, 0];
    call!(SYS_rt_sigaction, libc::SIGUSR2, &mut action, NONE, 8);
    call!(SYS_rt_sigaction, libc::SIGUSR2, NONE, &mut action, 8);
    let mut set = 1u64 << (libc::SIGUSR1 - 1) | 1 << 33;
    call!(SYS_rt_sigprocmask, libc::SIG_BLOCK, &mut set, NONE, 8);
    let mut before = 0u64;
    let mut most = !0u64;
    call!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &mut most, &mut before, 8);
    call!(SYS_rt_sigprocmask, libc::SIG_SETMASK, &mut set, &mut before, 8);
    call!(SYS_rt_sigpending, &mut before, 8);
    let mut limit = [0i64, 1000];
    call!(SYS_rt_sigtimedwait, &mut set, NONE, &mut limit, 8);
    let mut stack = [0u64; 3];
    call!(SYS_sigaltstack, NONE, &mut stack);
    call!(SYS_tgkill, std::process::id(), std::process::id(), 0);
    call!(SYS_tkill, std::process::id(), 0);
    call!(SYS_kill, std::process::id(), 0);
}

fn queries() {
    call!(SYS_getpid);
    call!(SYS_getppid);
    call!(SYS_gettid);
    call!(SYS_getuid);
    call!(SYS_geteuid);
    call!(SYS_getgid);
    call!(SYS_getegid);
    let (mut one, mut two, mut three) = (0u32, 0u32, 0u32);
    call!(SYS_getresuid, &mut one, &mut two, &mut three);
    call!(SYS_getresgid, &mut one, &mut two, &mut three);
    call!(SYS_setresuid, -1, -1, -1);
    call!(SYS_setreuid, -1, -1);
    call!(SYS_setfsuid, 0);
    call!(SYS_setfsgid, 0);
    let mut groups = [0u32; 100];
    call!(SYS_getgroups, 100, &mut groups);
    let mut room = [0u64; 64];
    call!(SYS_uname, &mut room);
    call!(SYS_sysinfo, &mut room);
    call!(SYS_getcpu, &mut one, &mut two, NONE);
    call!(SYS_getrandom, &mut room, 8, libc::GRND_NONBLOCK);
}

/// Calls that fail, most of them because of their arguments.
fn refusals() {
    call!(SYS_openat, HERE, c"no/such/file", libc::O_WRONLY | libc::O_APPEND);
    call!(SYS_openat, HERE, 16i64, libc::O_RDONLY);
    call!(SYS_openat, 999, c"file", libc::O_RDONLY);
    call!(SYS_read, 999, 16i64, 5);
    call!(SYS_write, 1, 16i64, 5);
    call!(SYS_close, -1);
    call!(SYS_chroot, c"missing");
    call!(SYS_mount, c"none", c"missing", c"tmpfs", libc::MS_RDONLY, c"size=1k");
    call!(SYS_umount2, c"missing", libc::MNT_DETACH);
    call!(SYS_pivot_root, c"missing", c"missing/old");
    call!(SYS_swapoff, c"missing");
    call!(SYS_acct, c"missing/file");
    call!(SYS_setns, 999, 0);
    call!(SYS_ptrace, libc::PTRACE_CONT, 0, 0, 0);
    call!(SYS_add_key, c"no-type", c"description", c"payload", 7, 0);
    call!(SYS_delete_module, c"no_such_module", libc::O_NONBLOCK);
    call!(SYS_mq_unlink, c"missing");
    call!(SYS_shmget, 1, 10, 0);
    call!(SYS_shmdt, 16);
    call!(SYS_semget, 1, 1, 0);
    call!(SYS_msgget, 1, 0);
    call!(SYS_io_setup, 0, NONE);
    call!(SYS_sethostname, 16, -1);
    call!(SYS_personality, 0xffff_ffffu32);
}

#[cfg(target_arch = "x86_64")]
fn older() {
    let mut room = [0u64; 64];
    call!(SYS_open, c"file", libc::O_RDONLY);
    let file = call!(SYS_creat, c"created", 0o600);
    call!(SYS_close, file);
    call!(SYS_stat, c"created", &mut room);
    call!(SYS_lstat, c"created", &mut room);
    call!(SYS_access, c"created", libc::F_OK);
    call!(SYS_mkdir, c"directory", 0o700);
    call!(SYS_rmdir, c"directory");
    call!(SYS_link, c"created", c"linked");
    call!(SYS_rename, c"linked", c"moved");
    call!(SYS_unlink, c"moved");
    call!(SYS_symlink, c"created", c"pointer");
    call!(SYS_readlink, c"pointer", &mut room, 100);
    call!(SYS_chmod, c"created", 0o4755);
    call!(SYS_chown, c"created", -1, -1);
    call!(SYS_lchown, c"created", -1, -1);
    call!(SYS_mknod, c"node", libc::S_IFIFO | 0o600, 0);
    call!(SYS_utime, c"created", NONE);
    call!(SYS_alarm, 0);
    let mut pipe = [0i32; 2];
    call!(SYS_pipe, &mut pipe);
    call!(SYS_dup2, pipe[0], 60);
    let mut polled = [libc::pollfd { fd: pipe[1], events: libc::POLLOUT, revents: 0 }];
    call!(SYS_poll, &mut polled, 1, 0);
    let mut set = [0u64; 16];
    set[0] = 1 << pipe[1];
    let mut limit = [0i64, 500];
    call!(SYS_select, pipe[1] + 1, NONE, &mut set, NONE, &mut limit);
    call!(SYS_eventfd, 1);
    let poll = call!(SYS_epoll_create, 5);
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; 2];
    call!(SYS_epoll_wait, poll, &mut events, 2, 0);
    call!(SYS_inotify_init);
    call!(SYS_getpgrp);
    call!(SYS_time, NONE);
    call!(SYS_arch_prctl, 0x1003, &mut room);
    let child = call!(SYS_fork);
    if child == 0 {
        call!(SYS_exit, 0);
    }
    call!(SYS_wait4, child, NONE, 0, NONE);
}

//! Files and descriptors.

use nix::libc;

use crate::decode::meaning::Meaning;
use crate::names::{Names, names};

/// What a file is opened for.
const ACCESS: Names = names![O_RDONLY O_WRONLY O_RDWR];
// Those that hold the bits of others come first.
const OPEN: Names = names![
    O_TMPFILE O_SYNC O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_DSYNC O_ASYNC O_DIRECT
    O_DIRECTORY O_NOFOLLOW O_NOATIME O_CLOEXEC O_PATH
];
const OPENING: Meaning = Meaning::OneAndFlags { mask: libc::O_ACCMODE as u64, one: ACCESS, flags: OPEN };
const PIPE: Names = names![O_NONBLOCK O_CLOEXEC O_DIRECT];
const AT: Names = names![
    AT_SYMLINK_NOFOLLOW AT_SYMLINK_FOLLOW AT_NO_AUTOMOUNT AT_EMPTY_PATH AT_STATX_FORCE_SYNC AT_STATX_DONT_SYNC
];
const AT_ACCESS: Names = names![AT_EACCESS AT_SYMLINK_NOFOLLOW AT_EMPTY_PATH];
const AT_UNLINK: Names = names![AT_REMOVEDIR];
const STATX: Names = names![
    STATX_BASIC_STATS STATX_TYPE STATX_MODE STATX_NLINK STATX_UID STATX_GID STATX_ATIME STATX_MTIME STATX_CTIME
    STATX_INO STATX_SIZE STATX_BLOCKS STATX_BTIME STATX_MNT_ID
];
const ACCESS_MODE: Names = names![F_OK R_OK W_OK X_OK];
const SEEK: Names = names![SEEK_SET SEEK_CUR SEEK_END SEEK_DATA SEEK_HOLE];
const FCNTL: Names = names![
    F_DUPFD F_DUPFD_CLOEXEC F_GETFD F_SETFD F_GETFL F_SETFL F_SETLK F_SETLKW F_GETLK F_SETOWN F_GETOWN
    F_OFD_GETLK F_OFD_SETLK F_OFD_SETLKW F_SETLEASE F_GETLEASE F_NOTIFY F_SETPIPE_SZ F_GETPIPE_SZ F_ADD_SEALS
    F_GET_SEALS F_CANCELLK;
    F_SETSIG = F_SETSIG F_GETSIG = F_GETSIG F_SETOWN_EX = F_SETOWN_EX F_GETOWN_EX = F_GETOWN_EX
    F_DUPFD_QUERY = 1027 F_CREATED_QUERY = 1028 F_GET_RW_HINT = 1035 F_SET_RW_HINT = 1036 F_GET_FILE_RW_HINT = 1037
    F_SET_FILE_RW_HINT = 1038
];
// asm-generic/fcntl.h, which both machines use. The C library has no names for them.
const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;
const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;
/// What is to be told of a directory (linux/fcntl.h).
const DIRECTORY_NOTES: Names = names![;
    DN_ACCESS = 0x1 DN_MODIFY = 0x2 DN_CREATE = 0x4 DN_DELETE = 0x8 DN_RENAME = 0x10 DN_ATTRIB = 0x20
    DN_MULTISHOT = 0x8000_0000
];
const SEALS: Names = names![F_SEAL_SEAL F_SEAL_SHRINK F_SEAL_GROW F_SEAL_WRITE F_SEAL_FUTURE_WRITE];
/// What fcntl(2) takes beside its command.
const FCNTL_ARGUMENT: Meaning = Meaning::By {
    parameter: 1,
    meanings: &[
        (libc::F_SETFL, OPENING),
        (libc::F_SETFD, Meaning::Flags(names![FD_CLOEXEC])),
        (libc::F_GETLK, Meaning::Address),
        (libc::F_SETLK, Meaning::Address),
        (libc::F_SETLKW, Meaning::Address),
        (libc::F_OFD_GETLK, Meaning::Address),
        (libc::F_OFD_SETLK, Meaning::Address),
        (libc::F_OFD_SETLKW, Meaning::Address),
        (libc::F_SETLEASE, Meaning::One(names![F_RDLCK F_WRLCK F_UNLCK])),
        (libc::F_ADD_SEALS, Meaning::Flags(SEALS)),
        (libc::F_NOTIFY, Meaning::Flags(DIRECTORY_NOTES)),
        (F_SETSIG, Meaning::Signal),
        (F_SETOWN_EX, Meaning::Address),
        (F_GETOWN_EX, Meaning::Address),
        (libc::F_GETFD, Meaning::Nothing),
        (libc::F_GETFL, Meaning::Nothing),
        (libc::F_GETOWN, Meaning::Nothing),
        (F_GETSIG, Meaning::Nothing),
        (libc::F_GETLEASE, Meaning::Nothing),
        (libc::F_GETPIPE_SZ, Meaning::Nothing),
        (libc::F_GET_SEALS, Meaning::Nothing),
    ],
    otherwise: &Meaning::Int,
};
const IOCTL: Names = names![
    TCGETS TCSETS TCSETSW TCSETSF TIOCGWINSZ TIOCSWINSZ TIOCGPGRP TIOCSPGRP TIOCSCTTY TIOCNOTTY FIONREAD FIONBIO
    FIOCLEX FIONCLEX
];
const FLOCK: Names = names![LOCK_SH LOCK_EX LOCK_UN LOCK_NB];
const FALLOCATE: Names = names![
    FALLOC_FL_KEEP_SIZE FALLOC_FL_PUNCH_HOLE FALLOC_FL_COLLAPSE_RANGE FALLOC_FL_ZERO_RANGE FALLOC_FL_INSERT_RANGE
];
const RENAME: Names = names![RENAME_NOREPLACE RENAME_EXCHANGE RENAME_WHITEOUT];
const MOUNT: Names = names![
    MS_RDONLY MS_NOSUID MS_NODEV MS_NOEXEC MS_SYNCHRONOUS MS_REMOUNT MS_MANDLOCK MS_DIRSYNC MS_NOATIME
    MS_NODIRATIME MS_BIND MS_MOVE MS_REC MS_SILENT MS_PRIVATE MS_SLAVE MS_SHARED MS_RELATIME MS_STRICTATIME
];
const UMOUNT: Names = names![MNT_FORCE MNT_DETACH MNT_EXPIRE UMOUNT_NOFOLLOW];
const ADVICE: Names = names![
    POSIX_FADV_NORMAL POSIX_FADV_RANDOM POSIX_FADV_SEQUENTIAL POSIX_FADV_WILLNEED POSIX_FADV_DONTNEED
    POSIX_FADV_NOREUSE
];
const EPOLL_CREATE: Names = names![EPOLL_CLOEXEC];
const EPOLL: Names = names![EPOLL_CTL_ADD EPOLL_CTL_DEL EPOLL_CTL_MOD];
const EVENTFD: Names = names![EFD_SEMAPHORE EFD_CLOEXEC EFD_NONBLOCK];
const SIGNALFD: Names = names![SFD_CLOEXEC SFD_NONBLOCK];
const INOTIFY_INIT: Names = names![IN_CLOEXEC IN_NONBLOCK];
const INOTIFY: Names = names![
    IN_ACCESS IN_MODIFY IN_ATTRIB IN_CLOSE_WRITE IN_CLOSE_NOWRITE IN_OPEN IN_MOVED_FROM IN_MOVED_TO IN_CREATE
    IN_DELETE IN_DELETE_SELF IN_MOVE_SELF IN_ONLYDIR IN_DONT_FOLLOW IN_EXCL_UNLINK IN_MASK_ADD IN_ONESHOT
];
const SPLICE: Names = names![SPLICE_F_MOVE SPLICE_F_NONBLOCK SPLICE_F_MORE SPLICE_F_GIFT];
const READ_WRITE: Names = names![RWF_HIPRI RWF_DSYNC RWF_SYNC RWF_NOWAIT RWF_APPEND];
const SYNC_RANGE: Names =
    names![SYNC_FILE_RANGE_WAIT_BEFORE SYNC_FILE_RANGE_WRITE SYNC_FILE_RANGE_WAIT_AFTER];
// linux/mount.h
const OPEN_TREE: Names =
    names![AT_RECURSIVE AT_EMPTY_PATH AT_SYMLINK_NOFOLLOW AT_NO_AUTOMOUNT O_CLOEXEC; OPEN_TREE_CLONE = 1];
const CLOSE_RANGE: Names = names![CLOSE_RANGE_UNSHARE CLOSE_RANGE_CLOEXEC];

pub fn meaning(call: &str, parameter: &str) -> Option<Meaning> {
    Some(match (call, parameter) {
        (_, "dfd" | "olddfd" | "newdfd" | "from_dfd" | "to_dfd" | "mountdirfd") => Meaning::Directory,
        ("execveat", "fd") => Meaning::Directory,
        ("open" | "openat", "flags") => OPENING,
        ("pipe2" | "dup3", "flags") => Meaning::Flags(PIPE),
        ("newfstatat" | "name_to_handle_at" | "fchownat", "flag") => Meaning::Flags(AT),
        ("statx" | "linkat" | "utimensat" | "execveat" | "fchmodat2", "flags") => Meaning::Flags(AT),
        ("statx", "mask") => Meaning::Flags(STATX),
        ("unlinkat", "flag") => Meaning::Flags(AT_UNLINK),
        ("faccessat2", "flags") => Meaning::Flags(AT_ACCESS),
        ("access" | "faccessat" | "faccessat2", "mode") => Meaning::Flags(ACCESS_MODE),
        ("lseek", "whence") => Meaning::One(SEEK),
        ("fcntl", "cmd") => Meaning::One(FCNTL),
        ("fcntl", "arg") => FCNTL_ARGUMENT,
        // -1 is where the file is.
        (_, "pos_l" | "pos_h") => Meaning::Long,
        ("ioctl", "cmd") => Meaning::One(IOCTL),
        ("ioctl", "arg") => Meaning::Address,
        ("flock", "cmd") => Meaning::Flags(FLOCK),
        ("fallocate", "mode") => Meaning::Flags(FALLOCATE),
        ("renameat2", "flags") => Meaning::Flags(RENAME),
        ("mount", "flags") => Meaning::Flags(MOUNT),
        ("umount", "flags") => Meaning::Flags(UMOUNT),
        ("fadvise64", "advice") => Meaning::One(ADVICE),
        ("epoll_create1", "flags") => Meaning::Flags(EPOLL_CREATE),
        ("epoll_ctl", "op") => Meaning::One(EPOLL),
        ("eventfd2", "flags") => Meaning::Flags(EVENTFD),
        ("signalfd4", "flags") => Meaning::Flags(SIGNALFD),
        ("inotify_init1", "flags") => Meaning::Flags(INOTIFY_INIT),
        ("inotify_add_watch", "mask") => Meaning::Flags(INOTIFY),
        ("splice" | "tee" | "vmsplice", "flags") => Meaning::Flags(SPLICE),
        ("preadv2" | "pwritev2", "flags") => Meaning::Flags(READ_WRITE),
        ("sync_file_range", "flags") => Meaning::Flags(SYNC_RANGE),
        ("open_tree", "flags") => Meaning::Flags(OPEN_TREE),
        ("close_range", "flags") => Meaning::Flags(CLOSE_RANGE),
        ("umask", "mask") => Meaning::Octal,
        _ => return None,
    })
}

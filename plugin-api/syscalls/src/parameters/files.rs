//! Files and descriptors.

use nix::libc;

use crate::argument_type::ArgumentType;
use crate::constants::{Constants, constants};

const PIPE: Constants = constants![O_NONBLOCK O_CLOEXEC O_DIRECT];
const AT: Constants = constants![
    AT_SYMLINK_NOFOLLOW AT_SYMLINK_FOLLOW AT_NO_AUTOMOUNT AT_EMPTY_PATH AT_STATX_FORCE_SYNC AT_STATX_DONT_SYNC
];
/// The bits that say how recent the attributes are have a name for 0, too.
const AT_STATX: Constants = constants![
    AT_SYMLINK_NOFOLLOW AT_NO_AUTOMOUNT AT_EMPTY_PATH AT_STATX_FORCE_SYNC AT_STATX_DONT_SYNC AT_STATX_SYNC_AS_STAT
];
/// Some have the bits of others.
const FILE_TYPES: Constants = constants![S_IFSOCK S_IFLNK S_IFBLK S_IFREG S_IFDIR S_IFCHR S_IFIFO];
const AT_ACCESS: Constants = constants![AT_EACCESS AT_SYMLINK_NOFOLLOW AT_EMPTY_PATH];
const AT_UNLINK: Constants = constants![AT_REMOVEDIR];
const STATX: Constants = constants![
    STATX_ALL STATX_BASIC_STATS STATX_TYPE STATX_MODE STATX_NLINK STATX_UID STATX_GID STATX_ATIME STATX_MTIME STATX_CTIME
    STATX_INO STATX_SIZE STATX_BLOCKS STATX_BTIME STATX_MNT_ID
];
const ACCESS_MODE: Constants = constants![F_OK R_OK W_OK X_OK];
const SEEK: Constants = constants![SEEK_SET SEEK_CUR SEEK_END SEEK_DATA SEEK_HOLE];
const FCNTL: Constants = constants![
    F_DUPFD F_DUPFD_CLOEXEC F_GETFD F_SETFD F_GETFL F_SETFL F_SETLK F_SETLKW F_GETLK F_SETOWN F_GETOWN
    F_OFD_GETLK F_OFD_SETLK F_OFD_SETLKW F_SETLEASE F_GETLEASE F_NOTIFY F_SETPIPE_SZ F_GETPIPE_SZ F_ADD_SEALS
    F_GET_SEALS F_CANCELLK;
    F_SETSIG = F_SETSIG F_GETSIG = F_GETSIG F_SETOWN_EX = F_SETOWN_EX F_GETOWN_EX = F_GETOWN_EX
    F_DUPFD_QUERY = 1027 F_CREATED_QUERY = 1028 F_GET_RW_HINT = 1035 F_SET_RW_HINT = 1036 F_GET_FILE_RW_HINT = 1037
    F_SET_FILE_RW_HINT = 1038
];
// asm-generic/fcntl.h, which both architectures use. The libc crate does not define them.
const F_SETSIG: i32 = 10;
const F_GETSIG: i32 = 11;
const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;
/// The events of `F_NOTIFY` (linux/fcntl.h).
const DNOTIFY: Constants = constants![;
    DN_ACCESS = 0x1 DN_MODIFY = 0x2 DN_CREATE = 0x4 DN_DELETE = 0x8 DN_RENAME = 0x10 DN_ATTRIB = 0x20
    DN_MULTISHOT = 0x8000_0000
];
const SEALS: Constants = constants![F_SEAL_SEAL F_SEAL_SHRINK F_SEAL_GROW F_SEAL_WRITE F_SEAL_FUTURE_WRITE];
/// The argument of fcntl(2) depends on its command.
const FCNTL_ARGUMENT: ArgumentType = ArgumentType::DependsOn {
    parameter: 1,
    types: &[
        (libc::F_SETFL, ArgumentType::OpenFlags),
        (libc::F_SETFD, ArgumentType::Flags(constants![FD_CLOEXEC])),
        (libc::F_GETLK, ArgumentType::Address),
        (libc::F_SETLK, ArgumentType::Address),
        (libc::F_SETLKW, ArgumentType::Address),
        (libc::F_OFD_GETLK, ArgumentType::Address),
        (libc::F_OFD_SETLK, ArgumentType::Address),
        (libc::F_OFD_SETLKW, ArgumentType::Address),
        (libc::F_SETLEASE, ArgumentType::Constant(constants![F_RDLCK F_WRLCK F_UNLCK])),
        (libc::F_ADD_SEALS, ArgumentType::Flags(SEALS)),
        (libc::F_NOTIFY, ArgumentType::Flags(DNOTIFY)),
        (F_SETSIG, ArgumentType::Signal),
        (F_SETOWN_EX, ArgumentType::Address),
        (F_GETOWN_EX, ArgumentType::Address),
        (libc::F_GETFD, ArgumentType::Unused),
        (libc::F_GETFL, ArgumentType::Unused),
        (libc::F_GETOWN, ArgumentType::Unused),
        (F_GETSIG, ArgumentType::Unused),
        (libc::F_GETLEASE, ArgumentType::Unused),
        (libc::F_GETPIPE_SZ, ArgumentType::Unused),
        (libc::F_GET_SEALS, ArgumentType::Unused),
    ],
    otherwise: &ArgumentType::Int,
};
const IOCTL: Constants = constants![
    TCGETS TCSETS TCSETSW TCSETSF TIOCGWINSZ TIOCSWINSZ TIOCGPGRP TIOCSPGRP TIOCSCTTY TIOCNOTTY FIONREAD FIONBIO
    FIOCLEX FIONCLEX
];
const FLOCK: Constants = constants![LOCK_SH LOCK_EX LOCK_UN LOCK_NB];
const FALLOCATE: Constants = constants![
    FALLOC_FL_KEEP_SIZE FALLOC_FL_PUNCH_HOLE FALLOC_FL_COLLAPSE_RANGE FALLOC_FL_ZERO_RANGE FALLOC_FL_INSERT_RANGE
];
const RENAME: Constants = constants![RENAME_NOREPLACE RENAME_EXCHANGE RENAME_WHITEOUT];
const ADVICE: Constants = constants![
    POSIX_FADV_NORMAL POSIX_FADV_RANDOM POSIX_FADV_SEQUENTIAL POSIX_FADV_WILLNEED POSIX_FADV_DONTNEED
    POSIX_FADV_NOREUSE
];
const EPOLL_CREATE: Constants = constants![EPOLL_CLOEXEC];
const EPOLL: Constants = constants![EPOLL_CTL_ADD EPOLL_CTL_DEL EPOLL_CTL_MOD];
const EVENTFD: Constants = constants![EFD_SEMAPHORE EFD_CLOEXEC EFD_NONBLOCK];
const SIGNALFD: Constants = constants![SFD_CLOEXEC SFD_NONBLOCK];
const INOTIFY_INIT: Constants = constants![IN_CLOEXEC IN_NONBLOCK];
const INOTIFY: Constants = constants![
    IN_ACCESS IN_MODIFY IN_ATTRIB IN_CLOSE_WRITE IN_CLOSE_NOWRITE IN_OPEN IN_MOVED_FROM IN_MOVED_TO IN_CREATE
    IN_DELETE IN_DELETE_SELF IN_MOVE_SELF IN_ONLYDIR IN_DONT_FOLLOW IN_EXCL_UNLINK IN_MASK_ADD IN_ONESHOT
];
const SPLICE: Constants = constants![SPLICE_F_MOVE SPLICE_F_NONBLOCK SPLICE_F_MORE SPLICE_F_GIFT];
const RWF: Constants = constants![RWF_HIPRI RWF_DSYNC RWF_SYNC RWF_NOWAIT RWF_APPEND];
const SYNC_RANGE: Constants =
    constants![SYNC_FILE_RANGE_WAIT_BEFORE SYNC_FILE_RANGE_WRITE SYNC_FILE_RANGE_WAIT_AFTER];
const XATTR: Constants = constants![XATTR_CREATE XATTR_REPLACE];
const FANOTIFY_CLASS: Constants = constants![FAN_CLASS_NOTIF FAN_CLASS_CONTENT FAN_CLASS_PRE_CONTENT];
const FANOTIFY_CLASS_MASK: u64 = 0xc;
const FANOTIFY_INIT: Constants = constants![
    FAN_CLOEXEC FAN_NONBLOCK FAN_UNLIMITED_QUEUE FAN_UNLIMITED_MARKS FAN_ENABLE_AUDIT FAN_REPORT_PIDFD FAN_REPORT_TID
    FAN_REPORT_FID FAN_REPORT_DIR_FID FAN_REPORT_NAME FAN_REPORT_TARGET_FID
];
const FANOTIFY_MARK: Constants = constants![
    FAN_MARK_ADD FAN_MARK_REMOVE FAN_MARK_DONT_FOLLOW FAN_MARK_ONLYDIR FAN_MARK_MOUNT FAN_MARK_IGNORED_MASK
    FAN_MARK_IGNORED_SURV_MODIFY FAN_MARK_FLUSH FAN_MARK_FILESYSTEM FAN_MARK_EVICTABLE FAN_MARK_IGNORE
];
const FANOTIFY: Constants = constants![
    FAN_ACCESS FAN_MODIFY FAN_ATTRIB FAN_CLOSE_WRITE FAN_CLOSE_NOWRITE FAN_OPEN FAN_MOVED_FROM FAN_MOVED_TO FAN_CREATE
    FAN_DELETE FAN_DELETE_SELF FAN_MOVE_SELF FAN_OPEN_EXEC FAN_Q_OVERFLOW FAN_FS_ERROR FAN_OPEN_PERM FAN_ACCESS_PERM
    FAN_OPEN_EXEC_PERM FAN_EVENT_ON_CHILD FAN_RENAME FAN_ONDIR
];
// linux/io_uring.h
const IO_URING_ENTER: Constants = constants![;
    IORING_ENTER_GETEVENTS = 0x1 IORING_ENTER_SQ_WAKEUP = 0x2 IORING_ENTER_SQ_WAIT = 0x4 IORING_ENTER_EXT_ARG = 0x8
    IORING_ENTER_REGISTERED_RING = 0x10 IORING_ENTER_ABS_TIMER = 0x20 IORING_ENTER_EXT_ARG_REG = 0x40
    IORING_ENTER_NO_IOWAIT = 0x80
];
const IO_URING_REGISTER: Constants = constants![;
    IORING_REGISTER_BUFFERS = 0 IORING_UNREGISTER_BUFFERS = 1 IORING_REGISTER_FILES = 2 IORING_UNREGISTER_FILES = 3
    IORING_REGISTER_EVENTFD = 4 IORING_UNREGISTER_EVENTFD = 5 IORING_REGISTER_FILES_UPDATE = 6
    IORING_REGISTER_EVENTFD_ASYNC = 7 IORING_REGISTER_PROBE = 8 IORING_REGISTER_PERSONALITY = 9
    IORING_UNREGISTER_PERSONALITY = 10 IORING_REGISTER_RESTRICTIONS = 11 IORING_REGISTER_ENABLE_RINGS = 12
    IORING_REGISTER_FILES2 = 13 IORING_REGISTER_FILES_UPDATE2 = 14 IORING_REGISTER_BUFFERS2 = 15
    IORING_REGISTER_BUFFERS_UPDATE = 16 IORING_REGISTER_IOWQ_AFF = 17 IORING_UNREGISTER_IOWQ_AFF = 18
    IORING_REGISTER_IOWQ_MAX_WORKERS = 19 IORING_REGISTER_RING_FDS = 20 IORING_UNREGISTER_RING_FDS = 21
    IORING_REGISTER_PBUF_RING = 22 IORING_UNREGISTER_PBUF_RING = 23 IORING_REGISTER_SYNC_CANCEL = 24
    IORING_REGISTER_FILE_ALLOC_RANGE = 25 IORING_REGISTER_PBUF_STATUS = 26 IORING_REGISTER_NAPI = 27
    IORING_UNREGISTER_NAPI = 28 IORING_REGISTER_CLOCK = 29 IORING_REGISTER_CLONE_BUFFERS = 30
    IORING_REGISTER_SEND_MSG_RING = 31 IORING_REGISTER_ZCRX_IFQ = 32 IORING_REGISTER_RESIZE_RINGS = 33
    IORING_REGISTER_MEM_REGION = 34
];
/// The lowest byte of the command of quotactl(2) is the quota type (linux/quota.h).
const QUOTA_TYPE_MASK: u64 = 0xff;
const QUOTA_TYPE: Constants = constants![; USRQUOTA = 0 GRPQUOTA = 1 PRJQUOTA = 2];
const QUOTA: Constants = constants![;
    Q_SYNC = 0x8000_0100 Q_QUOTAON = 0x8000_0200 Q_QUOTAOFF = 0x8000_0300 Q_GETFMT = 0x8000_0400 Q_GETINFO = 0x8000_0500
    Q_SETINFO = 0x8000_0600 Q_GETQUOTA = 0x8000_0700 Q_SETQUOTA = 0x8000_0800 Q_GETNEXTQUOTA = 0x8000_0900
];
const CLOSE_RANGE: Constants = constants![CLOSE_RANGE_UNSHARE CLOSE_RANGE_CLOEXEC];

pub fn argument_type(call: &str, parameter: &str) -> Option<ArgumentType> {
    Some(match (call, parameter) {
        (_, "dfd" | "olddfd" | "newdfd" | "from_dfd" | "to_dfd" | "mountdirfd") => ArgumentType::DirectoryFd,
        ("execveat", "fd") => ArgumentType::DirectoryFd,
        ("mknod" | "mknodat", "mode") => ArgumentType::FlagsAndMode(FILE_TYPES),
        ("delete_module", "flags") => ArgumentType::Flags(constants![O_NONBLOCK O_TRUNC]),
        ("open" | "openat", "flags") => ArgumentType::OpenFlags,
        ("pipe2" | "dup3", "flags") => ArgumentType::Flags(PIPE),
        ("newfstatat" | "name_to_handle_at" | "fchownat", "flag") => ArgumentType::Flags(AT),
        ("statx", "flags") => ArgumentType::Flags(AT_STATX),
        ("linkat" | "utimensat" | "execveat" | "fchmodat2", "flags") => ArgumentType::Flags(AT),
        ("statx", "mask") => ArgumentType::Flags(STATX),
        ("unlinkat", "flag") => ArgumentType::Flags(AT_UNLINK),
        ("faccessat2", "flags") => ArgumentType::Flags(AT_ACCESS),
        ("access" | "faccessat" | "faccessat2", "mode") => ArgumentType::Flags(ACCESS_MODE),
        ("lseek", "whence") => ArgumentType::Constant(SEEK),
        ("fcntl", "cmd") => ArgumentType::Constant(FCNTL),
        ("fcntl", "arg") => FCNTL_ARGUMENT,
        // -1 is the current file position.
        (_, "pos_l" | "pos_h") => ArgumentType::Long,
        ("ioctl", "cmd") => ArgumentType::Constant(IOCTL),
        ("ioctl", "arg") => ArgumentType::Address,
        ("flock", "cmd") => ArgumentType::Flags(FLOCK),
        ("fallocate", "mode") => ArgumentType::Flags(FALLOCATE),
        ("renameat2", "flags") => ArgumentType::Flags(RENAME),
        ("fadvise64", "advice") => ArgumentType::Constant(ADVICE),
        ("epoll_create1", "flags") => ArgumentType::Flags(EPOLL_CREATE),
        ("epoll_ctl", "op") => ArgumentType::Constant(EPOLL),
        ("eventfd2", "flags") => ArgumentType::Flags(EVENTFD),
        ("signalfd4", "flags") => ArgumentType::Flags(SIGNALFD),
        ("inotify_init1", "flags") => ArgumentType::Flags(INOTIFY_INIT),
        ("inotify_add_watch", "mask") => ArgumentType::Flags(INOTIFY),
        ("splice" | "tee" | "vmsplice", "flags") => ArgumentType::Flags(SPLICE),
        ("preadv2" | "pwritev2", "flags") => ArgumentType::Flags(RWF),
        ("sync_file_range", "flags") => ArgumentType::Flags(SYNC_RANGE),
        ("close_range", "flags") => ArgumentType::Flags(CLOSE_RANGE),
        ("setxattr" | "lsetxattr" | "fsetxattr", "flags") => ArgumentType::Flags(XATTR),
        (_, "at_flags") => ArgumentType::Flags(AT),
        ("open_by_handle_at", "flags") | ("mq_open", "oflag") | ("fanotify_init", "event_f_flags") => {
            ArgumentType::OpenFlags
        }
        ("fanotify_init", "flags") => ArgumentType::ConstantAndFlags {
            mask: FANOTIFY_CLASS_MASK,
            constants: FANOTIFY_CLASS,
            flags: FANOTIFY_INIT,
        },
        ("fanotify_mark", "flags") => ArgumentType::Flags(FANOTIFY_MARK),
        ("fanotify_mark", "mask") => ArgumentType::Flags(FANOTIFY),
        ("io_uring_enter", "flags") => ArgumentType::Flags(IO_URING_ENTER),
        ("io_uring_register", "opcode") => ArgumentType::Constant(IO_URING_REGISTER),
        ("quotactl" | "quotactl_fd", "cmd") => ArgumentType::TwoConstants {
            mask: !QUOTA_TYPE_MASK & 0xffff_ffff,
            first: QUOTA,
            second: QUOTA_TYPE,
        },
        ("umask", "mask") => ArgumentType::Octal,
        _ => return None,
    })
}

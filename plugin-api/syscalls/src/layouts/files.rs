//! Files and descriptors.

use super::{FieldKind, Layout, field, number, partly, whole};
use crate::argument_type::ArgumentType::{
    Address, Constant, Flags, Int, Long, Octal, OpenFlags, UnsignedLong,
};
use crate::constants::{Constants, constants};
use crate::open_flags::RESOLVE_FLAGS;

/// `struct stat`. Its layout depends on the machine.
#[cfg(target_arch = "x86_64")]
pub const STAT: Layout = partly(
    144,
    &[
        field("st_mode", 24, 4, FieldKind::FileMode),
        field("st_rdev", 40, 8, FieldKind::Device),
        field("st_size", 48, 8, FieldKind::FileSize),
    ],
);
/// `struct stat`. Its layout depends on the machine.
#[cfg(not(target_arch = "x86_64"))]
pub const STAT: Layout = partly(
    128,
    &[
        field("st_mode", 16, 4, FieldKind::FileMode),
        field("st_rdev", 32, 8, FieldKind::Device),
        field("st_size", 48, 8, FieldKind::FileSize),
    ],
);
/// `struct stat64` of i386.
pub const STAT_64: Layout = partly(
    96,
    &[
        field("st_mode", 16, 4, FieldKind::FileMode),
        field("st_rdev", 32, 8, FieldKind::Device),
        field("st_size", 44, 8, FieldKind::FileSize),
    ],
);

/// The flags in `stx_mask` of statx(2).
const STATX_MASK: Constants = constants![
    STATX_ALL STATX_BASIC_STATS STATX_TYPE STATX_MODE STATX_NLINK STATX_UID STATX_GID STATX_ATIME STATX_MTIME STATX_CTIME
    STATX_INO STATX_SIZE STATX_BLOCKS STATX_BTIME STATX_MNT_ID STATX_DIOALIGN;
    STATX_MNT_ID_UNIQUE = 0x4000 STATX_SUBVOL = 0x8000 STATX_WRITE_ATOMIC = 0x10000 STATX_DIO_READ_ALIGN = 0x20000
];
const STATX_ATTRIBUTES: Constants = constants![;
    STATX_ATTR_COMPRESSED = 0x4 STATX_ATTR_IMMUTABLE = 0x10 STATX_ATTR_APPEND = 0x20 STATX_ATTR_NODUMP = 0x40
    STATX_ATTR_ENCRYPTED = 0x800 STATX_ATTR_AUTOMOUNT = 0x1000 STATX_ATTR_MOUNT_ROOT = 0x2000
    STATX_ATTR_VERITY = 0x10_0000 STATX_ATTR_DAX = 0x20_0000
];

/// `struct statx`.
pub const STATX: Layout = partly(
    256,
    &[
        number("stx_mask", 0, 4, Flags(STATX_MASK)),
        number("stx_attributes", 8, 8, Flags(STATX_ATTRIBUTES)),
        field("stx_mode", 28, 2, FieldKind::FileMode),
        number("stx_size", 40, 8, UnsignedLong),
    ],
);

// linux/magic.h
const FILE_SYSTEMS: Constants = constants![;
    EXT2_SUPER_MAGIC = 0xef53 BTRFS_SUPER_MAGIC = 0x9123_683e XFS_SUPER_MAGIC = 0x5846_5342 TMPFS_MAGIC = 0x0102_1994
    PROC_SUPER_MAGIC = 0x9fa0 SYSFS_MAGIC = 0x6265_6572 CGROUP2_SUPER_MAGIC = 0x6367_7270 CGROUP_SUPER_MAGIC = 0x0027_e0eb
    DEVPTS_SUPER_MAGIC = 0x1cd1 OVERLAYFS_SUPER_MAGIC = 0x794c_7630 NFS_SUPER_MAGIC = 0x6969 SQUASHFS_MAGIC = 0x7371_7368
    TRACEFS_MAGIC = 0x7472_6163 DEBUGFS_MAGIC = 0x6462_6720 SECURITYFS_MAGIC = 0x7363_6673 PIPEFS_MAGIC = 0x5049_5045
    SOCKFS_MAGIC = 0x534f_434b ANON_INODE_FS_MAGIC = 0x0904_1934 BPF_FS_MAGIC = 0xcafe_4a11 FUSE_SUPER_MAGIC = 0x6573_5546
    MSDOS_SUPER_MAGIC = 0x4d44 ISOFS_SUPER_MAGIC = 0x9660 RAMFS_MAGIC = 0x8584_58f6 HUGETLBFS_MAGIC = 0x9584_58f6
    NSFS_MAGIC = 0x6e73_6673
];
const MOUNT_STATES: Constants = constants![;
    ST_VALID = 0x20 ST_RDONLY = 0x1 ST_NOSUID = 0x2 ST_NODEV = 0x4 ST_NOEXEC = 0x8 ST_SYNCHRONOUS = 0x10 ST_MANDLOCK = 0x40
    ST_NOATIME = 0x400 ST_NODIRATIME = 0x800 ST_RELATIME = 0x1000 ST_NOSYMFOLLOW = 0x2000
];

const FILE_SYSTEM_ID: Layout = whole(8, &[field("val", 0, 8, FieldKind::Numbers(Address))]);

/// `struct statfs`.
pub const FILE_SYSTEM: Layout = whole(
    120,
    &[
        number("f_type", 0, 8, Constant(FILE_SYSTEMS)),
        number("f_bsize", 8, 8, Long),
        number("f_blocks", 16, 8, UnsignedLong),
        number("f_bfree", 24, 8, UnsignedLong),
        number("f_bavail", 32, 8, UnsignedLong),
        number("f_files", 40, 8, UnsignedLong),
        number("f_ffree", 48, 8, UnsignedLong),
        field("f_fsid", 56, 8, FieldKind::Structure(&FILE_SYSTEM_ID)),
        number("f_namelen", 64, 8, Long),
        number("f_frsize", 72, 8, Long),
        number("f_flags", 80, 8, Flags(MOUNT_STATES)),
    ],
);

/// The events of poll(2).
const POLL: Constants = constants![
    POLLIN POLLPRI POLLOUT POLLERR POLLHUP POLLNVAL POLLRDNORM POLLRDBAND POLLWRNORM POLLWRBAND;
    POLLMSG = 0x400 POLLREMOVE = 0x1000 POLLRDHUP = 0x2000
];

/// `struct pollfd`, as the program fills it in.
pub const POLL_DESCRIPTOR: Layout =
    whole(8, &[field("fd", 0, 4, FieldKind::Descriptor), number("events", 4, 2, Flags(POLL))]);
/// `struct pollfd`, as the kernel fills it in.
pub const POLL_RESULT: Layout =
    whole(8, &[number("fd", 0, 4, Int), field("revents", 6, 2, FieldKind::NonZero(Flags(POLL)))]);

const EPOLL: Constants = constants![
    EPOLLIN EPOLLPRI EPOLLOUT EPOLLERR EPOLLHUP EPOLLRDNORM EPOLLRDBAND EPOLLWRNORM EPOLLWRBAND EPOLLMSG EPOLLRDHUP
    EPOLLEXCLUSIVE EPOLLWAKEUP EPOLLONESHOT EPOLLET
];

/// `epoll_data_t`, of which strace shows both members.
#[cfg(target_arch = "x86_64")]
const EPOLL_AT: u16 = 4;
#[cfg(not(target_arch = "x86_64"))]
const EPOLL_AT: u16 = 8;

/// `struct epoll_event`, which is packed on x86_64.
pub const EPOLL_EVENT: Layout =
    whole(EPOLL_AT + 8, &[number("events", 0, 4, Flags(EPOLL)), number("data", EPOLL_AT, 8, UnsignedLong)]);

const LOCK: Constants = constants![F_RDLCK F_WRLCK F_UNLCK];
const WHENCE: Constants = constants![SEEK_SET SEEK_CUR SEEK_END];

/// `struct flock`.
pub const FILE_LOCK: Layout = whole(
    32,
    &[
        number("l_type", 0, 2, Constant(LOCK)),
        number("l_whence", 2, 2, Constant(WHENCE)),
        number("l_start", 8, 8, Long),
        number("l_len", 16, 8, Long),
    ],
);

/// `struct open_how`.
pub const OPEN_HOW: Layout = whole(
    24,
    &[
        number("flags", 0, 8, OpenFlags),
        field("mode", 8, 8, FieldKind::NonZero(Octal)),
        number("resolve", 16, 8, Flags(RESOLVE_FLAGS)),
    ],
);

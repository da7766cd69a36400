//! The flags of open(2) and openat2(2).

use nix::libc;

use crate::constants::{Constants, constants, flag_names};

/// The flags of open(2), without the access mode. A flag whose bits include those of another comes first.
pub const OPEN_FLAGS: Constants = constants![
    O_TMPFILE O_SYNC O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_DSYNC O_ASYNC O_DIRECT O_DIRECTORY
    O_NOFOLLOW O_NOATIME O_CLOEXEC O_PATH;
    O_LARGEFILE = O_LARGEFILE
];

// Set by musl in every open(2), and by io_uring (fcntl.h of the kernel, generic and arm). The C library defines it as 0
// on 64-bit machines.
#[cfg(target_arch = "x86_64")]
const O_LARGEFILE: u64 = 0o100_000;
#[cfg(target_arch = "aarch64")]
const O_LARGEFILE: u64 = 0o400_000;

/// The flags of openat2(2) that restrict how a path is resolved.
pub(crate) const RESOLVE_FLAGS: Constants = constants![
    RESOLVE_NO_XDEV RESOLVE_NO_MAGICLINKS RESOLVE_NO_SYMLINKS RESOLVE_BENEATH RESOLVE_IN_ROOT RESOLVE_CACHED
];

/// The flags of open(2), access mode included: `O_RDONLY|O_CLOEXEC`.
pub fn open_flags(number: u64) -> String {
    let access = number & libc::O_ACCMODE as u64;
    let name = match access as i32 {
        libc::O_RDONLY => "O_RDONLY",
        libc::O_WRONLY => "O_WRONLY",
        libc::O_RDWR => "O_RDWR",
        // Only good for ioctl(2) (open(2)).
        _ => "O_ACCMODE",
    };
    match number & !access {
        0 => name.to_owned(),
        rest => format!("{name}|{}", flag_names(rest, OPEN_FLAGS)),
    }
}

/// The `resolve` flags of openat2(2): `RESOLVE_BENEATH|RESOLVE_IN_ROOT`.
pub fn resolve_flags(number: u64) -> String {
    flag_names(number, RESOLVE_FLAGS)
}

/// The name of the type in the mode of a file: `S_IFREG`.
pub fn file_type(mode: u64) -> Option<&'static str> {
    const TYPES: Constants = constants![S_IFREG S_IFDIR S_IFCHR S_IFBLK S_IFIFO S_IFLNK S_IFSOCK];
    let file_type = mode & u64::from(libc::S_IFMT);
    TYPES.iter().find(|(value, _)| *value == file_type).map(|(_, name)| *name)
}

/// Whether open(2) with these flags uses its `mode` argument.
pub fn takes_mode(flags: u64) -> bool {
    let has = |flag: i32| flags & flag as u64 == flag as u64;
    has(libc::O_CREAT) || has(libc::O_TMPFILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_flags_are_printed_by_name() {
        let shown = |flags: i32| open_flags(flags as u64);
        assert_eq!(shown(0), "O_RDONLY");
        assert_eq!(shown(3), "O_ACCMODE");
        assert_eq!(shown(libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC), "O_WRONLY|O_CREAT|O_TRUNC");
        assert_eq!(shown(libc::O_RDWR | libc::O_TMPFILE), "O_RDWR|O_TMPFILE");
        assert_eq!(shown(libc::O_DIRECTORY | libc::O_CLOEXEC), "O_RDONLY|O_DIRECTORY|O_CLOEXEC");
        assert_eq!(shown(libc::O_SYNC), "O_RDONLY|O_SYNC");
        assert_eq!(open_flags(O_LARGEFILE | 1 << 40), "O_RDONLY|O_LARGEFILE|0x10000000000");
    }

    #[test]
    fn resolve_flags_are_printed_by_name() {
        assert_eq!(resolve_flags(0x18), "RESOLVE_BENEATH|RESOLVE_IN_ROOT");
        assert_eq!(resolve_flags(1 << 20), "0x100000");
    }

    #[test]
    fn mode_is_used_when_a_file_may_be_created() {
        assert!(takes_mode(libc::O_CREAT as u64) && takes_mode(libc::O_TMPFILE as u64));
        assert!(!takes_mode(libc::O_DIRECTORY as u64) && !takes_mode(0));
    }
}

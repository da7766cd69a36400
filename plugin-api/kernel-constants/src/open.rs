use crate::libc;
use crate::names::{Names, flags};

/// Flags of open(2) beside the access mode. Those that hold the bits of others come first.
pub const OPEN_FLAGS: Names = crate::names![
    O_TMPFILE O_SYNC O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_DSYNC O_ASYNC O_DIRECT O_DIRECTORY
    O_NOFOLLOW O_NOATIME O_CLOEXEC O_PATH;
    O_LARGEFILE = O_LARGEFILE
];

// What musl gives every open(2), and io_uring (fcntl.h of the kernel, generic and arm). The C library here has 0 for it, since
// no program of 64 bits needs it.
#[cfg(target_arch = "x86_64")]
const O_LARGEFILE: u64 = 0o100_000;
#[cfg(target_arch = "aarch64")]
const O_LARGEFILE: u64 = 0o400_000;

/// What a file was opened for: `O_RDONLY|O_CLOEXEC`.
pub fn open_flags(number: u64) -> String {
    let access = number & libc::O_ACCMODE as u64;
    let name = match access as i32 {
        libc::O_RDONLY => "O_RDONLY",
        libc::O_WRONLY => "O_WRONLY",
        libc::O_RDWR => "O_RDWR",
        // For ioctl(2) only (open(2)).
        _ => "O_ACCMODE",
    };
    match number & !access {
        0 => name.to_owned(),
        rest => format!("{name}|{}", flags(rest, OPEN_FLAGS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_names() {
        let shown = |flags: i32| open_flags(flags as u64);
        assert_eq!(shown(0), "O_RDONLY");
        assert_eq!(shown(3), "O_ACCMODE");
        assert_eq!(shown(libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC), "O_WRONLY|O_CREAT|O_TRUNC");
        assert_eq!(shown(libc::O_RDWR | libc::O_TMPFILE), "O_RDWR|O_TMPFILE");
        assert_eq!(shown(libc::O_DIRECTORY | libc::O_CLOEXEC), "O_RDONLY|O_DIRECTORY|O_CLOEXEC");
        assert_eq!(shown(libc::O_SYNC), "O_RDONLY|O_SYNC");
        assert_eq!(open_flags(O_LARGEFILE | 1 << 40), "O_RDONLY|O_LARGEFILE|0x10000000000");
    }
}

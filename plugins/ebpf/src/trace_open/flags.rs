//! The flags of open(2) and openat2(2) by their names.

use nix::libc;

/// Numbers and their names. Those that hold the bits of others come first.
type Names = &'static [(u64, &'static str)];

/// Names of constants of the C library, whose numbers are those of this machine.
macro_rules! names {
    ($($name:ident)*) => { &[$((libc::$name as u64, stringify!($name))),*] };
}

const OPEN: Names = names![
    O_TMPFILE O_SYNC O_CREAT O_EXCL O_NOCTTY O_TRUNC O_APPEND O_NONBLOCK O_DSYNC O_ASYNC O_DIRECT O_DIRECTORY
    O_NOFOLLOW O_NOATIME O_CLOEXEC O_PATH
];

const RESOLVE: Names = names![
    RESOLVE_NO_XDEV RESOLVE_NO_MAGICLINKS RESOLVE_NO_SYMLINKS RESOLVE_BENEATH RESOLVE_IN_ROOT RESOLVE_CACHED
];

/// The C library calls it 0 where every program has it (fcntl.h of the kernel, generic and arm).
#[cfg(target_arch = "x86_64")]
const O_LARGEFILE: u64 = 0o100000;
#[cfg(target_arch = "aarch64")]
const O_LARGEFILE: u64 = 0o400000;

/// What a file was opened for: `O_RDONLY|O_CLOEXEC`.
pub fn open(flags: u64) -> String {
    let access = flags & libc::O_ACCMODE as u64;
    let mut names = vec![match access as i32 {
        libc::O_RDONLY => "O_RDONLY",
        libc::O_WRONLY => "O_WRONLY",
        libc::O_RDWR => "O_RDWR",
        // For ioctl(2) only (open(2)).
        _ => "O_ACCMODE",
    }];
    let mut rest = take(flags & !access, OPEN, &mut names);
    if rest & O_LARGEFILE != 0 {
        names.push("O_LARGEFILE");
        rest &= !O_LARGEFILE;
    }
    join(&names, rest)
}

/// How openat2(2) was to look up the name.
pub fn resolve(flags: u64) -> String {
    let mut names = Vec::new();
    let rest = take(flags, RESOLVE, &mut names);
    join(&names, rest)
}

/// Whether a call with these flags heeds its mode.
pub fn use_mode(flags: u64) -> bool {
    let is = |flag: i32| flags & flag as u64 == flag as u64;
    is(libc::O_CREAT) || is(libc::O_TMPFILE)
}

/// Takes out what has a name; the rest.
fn take(mut flags: u64, known: Names, names: &mut Vec<&'static str>) -> u64 {
    for (flag, name) in known {
        if flags & flag == *flag {
            names.push(name);
            flags &= !flag;
        }
    }
    flags
}

fn join(names: &[&str], rest: u64) -> String {
    let names = names.join("|");
    match rest {
        0 => names,
        rest if names.is_empty() => format!("{rest:#x}"),
        rest => format!("{names}|{rest:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_names() {
        let flags = |flags: i32| open(flags as u64);
        assert_eq!(flags(0), "O_RDONLY");
        assert_eq!(flags(libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC), "O_WRONLY|O_CREAT|O_TRUNC");
        assert_eq!(flags(libc::O_RDWR | libc::O_TMPFILE), "O_RDWR|O_TMPFILE");
        assert_eq!(flags(libc::O_DIRECTORY | libc::O_CLOEXEC), "O_RDONLY|O_DIRECTORY|O_CLOEXEC");
        assert_eq!(flags(libc::O_SYNC), "O_RDONLY|O_SYNC");
        assert_eq!(open(O_LARGEFILE | 1 << 40), "O_RDONLY|O_LARGEFILE|0x10000000000");
        assert_eq!(resolve(0x18), "RESOLVE_BENEATH|RESOLVE_IN_ROOT");
        assert_eq!(resolve(1 << 20), "0x100000");
    }

    #[test]
    fn a_mode_is_for_new_files() {
        assert!(use_mode(libc::O_CREAT as u64) && use_mode(libc::O_TMPFILE as u64));
        assert!(!use_mode(libc::O_DIRECTORY as u64) && !use_mode(0));
    }
}

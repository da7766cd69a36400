//! The flags of open(2) and openat2(2) by their names.

use kernel_constants::{Names, flags, names};
use nix::libc;

pub use kernel_constants::open_flags as open;

const RESOLVE: Names = names![
    RESOLVE_NO_XDEV RESOLVE_NO_MAGICLINKS RESOLVE_NO_SYMLINKS RESOLVE_BENEATH RESOLVE_IN_ROOT RESOLVE_CACHED
];

/// How openat2(2) was to look up the name.
pub fn resolve(number: u64) -> String {
    flags(number, RESOLVE)
}

/// Whether a call with these flags heeds its mode.
pub fn use_mode(flags: u64) -> bool {
    let is = |flag: i32| flags & flag as u64 == flag as u64;
    is(libc::O_CREAT) || is(libc::O_TMPFILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_look_up_have_names() {
        assert_eq!(resolve(0x18), "RESOLVE_BENEATH|RESOLVE_IN_ROOT");
        assert_eq!(resolve(1 << 20), "0x100000");
    }

    #[test]
    fn a_mode_is_for_new_files() {
        assert!(use_mode(libc::O_CREAT as u64) && use_mode(libc::O_TMPFILE as u64));
        assert!(!use_mode(libc::O_DIRECTORY as u64) && !use_mode(0));
    }
}

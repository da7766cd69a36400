//! File systems and where they are mounted.

use crate::decode::meaning::Meaning;
use crate::names::{Names, names};

const MOUNT: Names = names![
    MS_RDONLY MS_NOSUID MS_NODEV MS_NOEXEC MS_SYNCHRONOUS MS_REMOUNT MS_MANDLOCK MS_DIRSYNC MS_NOATIME
    MS_NODIRATIME MS_BIND MS_MOVE MS_REC MS_SILENT MS_PRIVATE MS_SLAVE MS_SHARED MS_RELATIME MS_STRICTATIME
];
const UMOUNT: Names = names![MNT_FORCE MNT_DETACH MNT_EXPIRE UMOUNT_NOFOLLOW];
// linux/mount.h
const OPEN_TREE: Names =
    names![AT_RECURSIVE AT_EMPTY_PATH AT_SYMLINK_NOFOLLOW AT_NO_AUTOMOUNT O_CLOEXEC; OPEN_TREE_CLONE = 1];
const MOVE_MOUNT: Names = names![;
    MOVE_MOUNT_F_SYMLINKS = 0x1 MOVE_MOUNT_F_AUTOMOUNTS = 0x2 MOVE_MOUNT_F_EMPTY_PATH = 0x4
    MOVE_MOUNT_T_SYMLINKS = 0x10 MOVE_MOUNT_T_AUTOMOUNTS = 0x20 MOVE_MOUNT_T_EMPTY_PATH = 0x40
    MOVE_MOUNT_SET_GROUP = 0x100 MOVE_MOUNT_BENEATH = 0x200
];
const FSOPEN: Names = names![; FSOPEN_CLOEXEC = 1];
const FSMOUNT: Names = names![; FSMOUNT_CLOEXEC = 1];
const FSPICK: Names = names![;
    FSPICK_CLOEXEC = 1 FSPICK_SYMLINK_NOFOLLOW = 2 FSPICK_NO_AUTOMOUNT = 4 FSPICK_EMPTY_PATH = 8
];
const FSCONFIG: Names = names![;
    FSCONFIG_SET_FLAG = 0 FSCONFIG_SET_STRING = 1 FSCONFIG_SET_BINARY = 2 FSCONFIG_SET_PATH = 3
    FSCONFIG_SET_PATH_EMPTY = 4 FSCONFIG_SET_FD = 5 FSCONFIG_CMD_CREATE = 6 FSCONFIG_CMD_RECONFIGURE = 7
    FSCONFIG_CMD_CREATE_EXCL = 8
];
const ATTRIBUTES: Names = names![;
    MOUNT_ATTR_RDONLY = 0x1 MOUNT_ATTR_NOSUID = 0x2 MOUNT_ATTR_NODEV = 0x4 MOUNT_ATTR_NOEXEC = 0x8
    MOUNT_ATTR_NOATIME = 0x10 MOUNT_ATTR_STRICTATIME = 0x20 MOUNT_ATTR_NODIRATIME = 0x80 MOUNT_ATTR_IDMAP = 0x10_0000
    MOUNT_ATTR_NOSYMFOLLOW = 0x20_0000
];
const SET_ATTRIBUTES: Names = names![AT_RECURSIVE AT_EMPTY_PATH AT_SYMLINK_NOFOLLOW AT_NO_AUTOMOUNT];
const SWAP: Names = names![; SWAP_FLAG_PREFER = 0x8000 SWAP_FLAG_DISCARD = 0x1_0000 SWAP_FLAG_DISCARD_ONCE = 0x2_0000
    SWAP_FLAG_DISCARD_PAGES = 0x4_0000];

pub fn meaning(call: &str, parameter: &str) -> Option<Meaning> {
    Some(match (call, parameter) {
        ("mount", "flags") => Meaning::Flags(MOUNT),
        ("umount", "flags") => Meaning::Flags(UMOUNT),
        ("open_tree" | "open_tree_attr", "flags") => Meaning::Flags(OPEN_TREE),
        ("move_mount", "flags") => Meaning::Flags(MOVE_MOUNT),
        ("fsopen", "flags") => Meaning::Flags(FSOPEN),
        ("fsmount", "flags") => Meaning::Flags(FSMOUNT),
        ("fsmount", "attr_flags") => Meaning::Flags(ATTRIBUTES),
        ("fspick", "flags") => Meaning::Flags(FSPICK),
        ("fsconfig", "cmd") => Meaning::One(FSCONFIG),
        ("mount_setattr", "flags") => Meaning::Flags(SET_ATTRIBUTES),
        ("swapon", "swap_flags") => Meaning::Flags(SWAP),
        _ => return None,
    })
}

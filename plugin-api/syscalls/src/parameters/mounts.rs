//! File systems and mounts.

use crate::argument_type::ArgumentType;
use crate::constants::{Constants, constants};

const MOUNT: Constants = constants![
    MS_RDONLY MS_NOSUID MS_NODEV MS_NOEXEC MS_SYNCHRONOUS MS_REMOUNT MS_MANDLOCK MS_DIRSYNC MS_NOATIME
    MS_NODIRATIME MS_BIND MS_MOVE MS_REC MS_SILENT MS_PRIVATE MS_SLAVE MS_SHARED MS_RELATIME MS_STRICTATIME
];
const UMOUNT: Constants = constants![MNT_FORCE MNT_DETACH MNT_EXPIRE UMOUNT_NOFOLLOW];
// linux/mount.h
const OPEN_TREE: Constants =
    constants![AT_RECURSIVE AT_EMPTY_PATH AT_SYMLINK_NOFOLLOW AT_NO_AUTOMOUNT O_CLOEXEC; OPEN_TREE_CLONE = 1];
const MOVE_MOUNT: Constants = constants![;
    MOVE_MOUNT_F_SYMLINKS = 0x1 MOVE_MOUNT_F_AUTOMOUNTS = 0x2 MOVE_MOUNT_F_EMPTY_PATH = 0x4
    MOVE_MOUNT_T_SYMLINKS = 0x10 MOVE_MOUNT_T_AUTOMOUNTS = 0x20 MOVE_MOUNT_T_EMPTY_PATH = 0x40
    MOVE_MOUNT_SET_GROUP = 0x100 MOVE_MOUNT_BENEATH = 0x200
];
const FSOPEN: Constants = constants![; FSOPEN_CLOEXEC = 1];
const FSMOUNT: Constants = constants![; FSMOUNT_CLOEXEC = 1];
const FSPICK: Constants = constants![;
    FSPICK_CLOEXEC = 1 FSPICK_SYMLINK_NOFOLLOW = 2 FSPICK_NO_AUTOMOUNT = 4 FSPICK_EMPTY_PATH = 8
];
const FSCONFIG: Constants = constants![;
    FSCONFIG_SET_FLAG = 0 FSCONFIG_SET_STRING = 1 FSCONFIG_SET_BINARY = 2 FSCONFIG_SET_PATH = 3
    FSCONFIG_SET_PATH_EMPTY = 4 FSCONFIG_SET_FD = 5 FSCONFIG_CMD_CREATE = 6 FSCONFIG_CMD_RECONFIGURE = 7
    FSCONFIG_CMD_CREATE_EXCL = 8
];
const MOUNT_ATTR: Constants = constants![;
    MOUNT_ATTR_RDONLY = 0x1 MOUNT_ATTR_NOSUID = 0x2 MOUNT_ATTR_NODEV = 0x4 MOUNT_ATTR_NOEXEC = 0x8
    MOUNT_ATTR_NOATIME = 0x10 MOUNT_ATTR_STRICTATIME = 0x20 MOUNT_ATTR_NODIRATIME = 0x80 MOUNT_ATTR_IDMAP = 0x10_0000
    MOUNT_ATTR_NOSYMFOLLOW = 0x20_0000
];
const MOUNT_SETATTR: Constants = constants![AT_RECURSIVE AT_EMPTY_PATH AT_SYMLINK_NOFOLLOW AT_NO_AUTOMOUNT];
const SWAP: Constants = constants![; SWAP_FLAG_PREFER = 0x8000 SWAP_FLAG_DISCARD = 0x1_0000 SWAP_FLAG_DISCARD_ONCE = 0x2_0000
    SWAP_FLAG_DISCARD_PAGES = 0x4_0000];

pub fn argument_type(call: &str, parameter: &str) -> Option<ArgumentType> {
    Some(match (call, parameter) {
        ("mount", "flags") => ArgumentType::Flags(MOUNT),
        ("umount" | "umount2", "flags") => ArgumentType::Flags(UMOUNT),
        ("open_tree" | "open_tree_attr", "flags") => ArgumentType::Flags(OPEN_TREE),
        ("move_mount", "flags") => ArgumentType::Flags(MOVE_MOUNT),
        ("fsopen", "flags") => ArgumentType::Flags(FSOPEN),
        ("fsmount", "flags") => ArgumentType::Flags(FSMOUNT),
        ("fsmount", "attr_flags") => ArgumentType::Flags(MOUNT_ATTR),
        ("fspick", "flags") => ArgumentType::Flags(FSPICK),
        ("fsconfig", "cmd") => ArgumentType::Constant(FSCONFIG),
        ("mount_setattr", "flags") => ArgumentType::Flags(MOUNT_SETATTR),
        ("swapon", "swap_flags") => ArgumentType::Flags(SWAP),
        _ => return None,
    })
}

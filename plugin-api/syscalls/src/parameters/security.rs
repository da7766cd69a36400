//! Keys, sandboxes and programs in the kernel.

use crate::argument_type::ArgumentType;
use crate::constants::{Constants, constants};

// linux/bpf.h
const BPF: Constants = constants![;
    BPF_MAP_CREATE = 0 BPF_MAP_LOOKUP_ELEM = 1 BPF_MAP_UPDATE_ELEM = 2 BPF_MAP_DELETE_ELEM = 3 BPF_MAP_GET_NEXT_KEY = 4
    BPF_PROG_LOAD = 5 BPF_OBJ_PIN = 6 BPF_OBJ_GET = 7 BPF_PROG_ATTACH = 8 BPF_PROG_DETACH = 9 BPF_PROG_TEST_RUN = 10
    BPF_PROG_GET_NEXT_ID = 11 BPF_MAP_GET_NEXT_ID = 12 BPF_PROG_GET_FD_BY_ID = 13 BPF_MAP_GET_FD_BY_ID = 14
    BPF_OBJ_GET_INFO_BY_FD = 15 BPF_PROG_QUERY = 16 BPF_RAW_TRACEPOINT_OPEN = 17 BPF_BTF_LOAD = 18 BPF_BTF_GET_FD_BY_ID = 19
    BPF_TASK_FD_QUERY = 20 BPF_MAP_LOOKUP_AND_DELETE_ELEM = 21 BPF_MAP_FREEZE = 22 BPF_BTF_GET_NEXT_ID = 23
    BPF_MAP_LOOKUP_BATCH = 24 BPF_MAP_LOOKUP_AND_DELETE_BATCH = 25 BPF_MAP_UPDATE_BATCH = 26 BPF_MAP_DELETE_BATCH = 27
    BPF_LINK_CREATE = 28 BPF_LINK_UPDATE = 29 BPF_LINK_GET_FD_BY_ID = 30 BPF_LINK_GET_NEXT_ID = 31 BPF_ENABLE_STATS = 32
    BPF_ITER_CREATE = 33 BPF_LINK_DETACH = 34 BPF_PROG_BIND_MAP = 35 BPF_TOKEN_CREATE = 36
];
const SECCOMP: Constants =
    constants![SECCOMP_SET_MODE_STRICT SECCOMP_SET_MODE_FILTER SECCOMP_GET_ACTION_AVAIL];
const SECCOMP_FILTER: Constants = constants![
    SECCOMP_FILTER_FLAG_TSYNC SECCOMP_FILTER_FLAG_LOG SECCOMP_FILTER_FLAG_SPEC_ALLOW SECCOMP_FILTER_FLAG_NEW_LISTENER
    SECCOMP_FILTER_FLAG_TSYNC_ESRCH SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
];
const KEYS: Constants = constants![
    KEYCTL_GET_KEYRING_ID KEYCTL_JOIN_SESSION_KEYRING KEYCTL_UPDATE KEYCTL_REVOKE KEYCTL_CHOWN KEYCTL_SETPERM
    KEYCTL_DESCRIBE KEYCTL_CLEAR KEYCTL_LINK KEYCTL_UNLINK KEYCTL_SEARCH KEYCTL_READ KEYCTL_INSTANTIATE KEYCTL_NEGATE
    KEYCTL_SET_REQKEY_KEYRING KEYCTL_SET_TIMEOUT KEYCTL_ASSUME_AUTHORITY KEYCTL_GET_SECURITY
    KEYCTL_SESSION_TO_PARENT KEYCTL_REJECT KEYCTL_INSTANTIATE_IOV KEYCTL_INVALIDATE KEYCTL_GET_PERSISTENT
];
// linux/landlock.h
const LANDLOCK_RULESET: Constants =
    constants![; LANDLOCK_CREATE_RULESET_VERSION = 1 LANDLOCK_CREATE_RULESET_ERRATA = 2];
const LANDLOCK_RULE: Constants = constants![; LANDLOCK_RULE_PATH_BENEATH = 1 LANDLOCK_RULE_NET_PORT = 2];
const LANDLOCK_RESTRICT: Constants = constants![;
    LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF = 1 LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON = 2
    LANDLOCK_RESTRICT_SELF_LOG_SUBDOMAINS_OFF = 4
];

pub fn argument_type(call: &str, parameter: &str) -> Option<ArgumentType> {
    Some(match (call, parameter) {
        ("bpf", "cmd") => ArgumentType::Constant(BPF),
        ("seccomp", "op") => ArgumentType::Constant(SECCOMP),
        ("seccomp", "flags") => ArgumentType::Flags(SECCOMP_FILTER),
        ("keyctl", "option") => ArgumentType::Constant(KEYS),
        // Serial numbers of keys, some of which are negative.
        ("keyctl", "arg2" | "arg3" | "arg4" | "arg5") => ArgumentType::Long,
        ("landlock_create_ruleset", "flags") => ArgumentType::Flags(LANDLOCK_RULESET),
        ("landlock_add_rule", "rule_type") => ArgumentType::Constant(LANDLOCK_RULE),
        ("landlock_restrict_self", "flags") => ArgumentType::Flags(LANDLOCK_RESTRICT),
        _ => return None,
    })
}

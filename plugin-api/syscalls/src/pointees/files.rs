//! Files and descriptors.

use super::Content::{Bytes, DescriptorSet, Descriptors, Numbers, Path, Structure, Structures, Text};
use super::NumberKind::Signed;
use super::{Count, Pointee, all_given, all_written, given, written};
use crate::layouts::{
    EPOLL_EVENT, FILE_LOCK, FILE_SYSTEM, OPEN_HOW, POLL_DESCRIPTOR, POLL_RESULT, STAT, STAT_64, STATX,
};

pub fn pointees(call: &str, parameter: &str, is_compat: bool) -> Option<&'static [Pointee]> {
    Some(match (call, parameter) {
        (
            "read" | "pread64" | "readlink" | "readlinkat" | "getxattr" | "lgetxattr" | "fgetxattr"
            | "listxattr" | "llistxattr" | "flistxattr" | "getrandom",
            "buf" | "ubuf" | "value" | "list",
        ) => const { &[all_written(Bytes, Count::Result)] },
        ("getcwd", "buf") => const { &[written(Path)] },
        ("write" | "pwrite64", "buf") => const { &[all_given(Bytes, Count::Argument(2))] },
        ("setxattr" | "lsetxattr" | "fsetxattr", "value") => {
            const { &[all_given(Bytes, Count::Argument(3))] }
        }
        (
            "setxattr" | "lsetxattr" | "fsetxattr" | "getxattr" | "lgetxattr" | "fgetxattr" | "removexattr"
            | "lremovexattr" | "fremovexattr",
            "name",
        ) => const { &[given(Text)] },
        ("readv" | "preadv" | "preadv2", "vec") => {
            const { &[all_written(super::Content::Buffers, Count::Argument(2))] }
        }
        ("writev" | "pwritev" | "pwritev2" | "vmsplice", "vec" | "uiov") => {
            const { &[all_given(super::Content::Buffers, Count::Argument(2))] }
        }
        ("stat64" | "lstat64" | "fstat64" | "fstatat64", "statbuf") if is_compat => {
            const { &[written(Structure(&STAT_64))] }
        }
        ("stat" | "lstat" | "fstat" | "newfstatat", "statbuf") if !is_compat => {
            const { &[written(Structure(&STAT))] }
        }
        ("statx", "buffer") => const { &[written(Structure(&STATX))] },
        ("statfs" | "fstatfs", "buf") if !is_compat => const { &[written(Structure(&FILE_SYSTEM))] },
        ("pipe" | "pipe2", "fildes") => const { &[written(Descriptors)] },
        ("poll" | "ppoll" | "ppoll_time64", "ufds") => {
            const {
                &[
                    all_given(Structures(&POLL_DESCRIPTOR), Count::Argument(1)),
                    all_written(Structures(&POLL_RESULT), Count::Argument(1)),
                ]
            }
        }
        ("select" | "pselect6" | "_newselect", "inp" | "outp" | "exp") if !is_compat => {
            const {
                &[
                    all_given(DescriptorSet, Count::Argument(0)),
                    all_written(DescriptorSet, Count::Argument(0)),
                ]
            }
        }
        ("epoll_ctl", "event") => const { &[given(Structure(&EPOLL_EVENT))] },
        ("epoll_wait" | "epoll_pwait" | "epoll_pwait2", "events") => {
            const { &[all_written(Structures(&EPOLL_EVENT), Count::Result)] }
        }
        ("openat2", "how") => const { &[given(Structure(&OPEN_HOW))] },
        ("fcntl", "arg") if !is_compat => {
            const { &[given(Structure(&FILE_LOCK)), written(Structure(&FILE_LOCK))] }
        }
        ("sendfile", "offset") if !is_compat => {
            const { &[given(Numbers(8, Signed)), written(Numbers(8, Signed))] }
        }
        ("copy_file_range" | "splice", "off_in" | "off_out") => {
            const { &[given(Numbers(8, Signed)), written(Numbers(8, Signed))] }
        }
        ("_llseek", "result") => const { &[written(Numbers(8, Signed))] },
        ("memfd_create", "uname") | ("inotify_add_watch" | "acct" | "fsconfig", "name") => {
            const { &[given(Path)] }
        }
        ("fsopen", "_fs_name") | ("fsconfig", "_key") => const { &[given(Text)] },
        ("name_to_handle_at", "name")
        | ("mount", "dev_name" | "dir_name")
        | ("umount" | "umount2", "name") => const { &[given(Path)] },
        ("mount", "type" | "data") => const { &[given(Text)] },
        ("move_mount", "from_pathname" | "to_pathname") => const { &[given(Path)] },
        ("swapon" | "swapoff", "specialfile") | ("quotactl", "special") => const { &[given(Path)] },
        ("mq_open" | "mq_unlink", "u_name") => const { &[given(Text)] },
        ("mq_timedsend", "u_msg_ptr") => const { &[all_given(Bytes, Count::Argument(2))] },
        ("mq_timedreceive", "u_msg_ptr") => const { &[all_written(Bytes, Count::Result)] },
        ("name_to_handle_at", "mnt_id") => const { &[written(Numbers(4, Signed))] },
        ("add_key" | "request_key", "_type" | "_description" | "_callout_info") => const { &[given(Text)] },
        ("add_key", "_payload") => const { &[all_given(Bytes, Count::Argument(3))] },
        ("finit_module" | "init_module", "uargs") | ("delete_module", "name_user") => {
            const { &[given(Text)] }
        }
        _ => return None,
    })
}

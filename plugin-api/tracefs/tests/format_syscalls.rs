//! System calls, as kernels of different versions print them. The formats from 6.19 on, and the lines, are those of Linux 7.3.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use nix::fcntl::OFlag;
use tempfile::TempDir;
use tracefs::format::{EventFormat, Formatter};

const COMMON: &str = "format:\n\
    \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
    \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n";
const NUMBER: &str = "\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n";

const OPENAT: &str = r#"	field:int dfd;	offset:16;	size:8;	signed:0;
	field:const char * filename;	offset:24;	size:8;	signed:0;
	field:int flags;	offset:32;	size:8;	signed:0;
	field:umode_t mode;	offset:40;	size:8;	signed:0;
	field:__data_loc char[] __filename_val;	offset:48;	size:4;	signed:0;

print fmt: "dfd: 0x%08lx, filename: 0x%08lx \"%s\", flags: %s%s, mode: 0%03o", ((unsigned long)(REC->dfd)), ((unsigned long)(REC->filename)), __get_str(__filename_val), (REC->flags & ~3) && !(REC->flags & 3) ? "O_RDONLY|" : "",  REC->flags ? __print_flags(REC->flags, "|", { 0x1, "O_WRONLY" }, { 0x2, "O_RDWR" }, { 0x40, "O_CREAT" }, { 0x80, "O_EXCL" }, { 0x100, "O_NOCTTY" }, { 0x200, "O_TRUNC" }, { 0x400, "O_APPEND" }, { 0x800, "O_NONBLOCK" }, { 0x1000, "O_DSYNC" }, { 0x4000, "O_DIRECT" }, { 0x8000, "O_LARGEFILE" }, { 0x10000, "O_DIRECTORY" }, { 0x20000, "O_NOFOLLOW" }, { 0x40000, "O_NOATIME" }, { 0x80000, "O_CLOEXEC" }) : "O_RDONLY",  ((unsigned long)(REC->mode))
"#;
const WRITE: &str = r#"	field:unsigned int fd;	offset:16;	size:8;	signed:0;
	field:const char * buf;	offset:24;	size:8;	signed:0;
	field:size_t count;	offset:32;	size:8;	signed:0;
	field:__data_loc char[] __buf_val;	offset:40;	size:4;	signed:0;

print fmt: "fd: 0x%08lx, buf: 0x%08lx (%s), count: 0x%08lx", ((unsigned long)(REC->fd)), ((unsigned long)(REC->buf)), __print_dynamic_array(__buf_val, 1), ((unsigned long)(REC->count))
"#;
const MQ_TIMEDSEND: &str = r#"	field:mqd_t mqdes;	offset:16;	size:8;	signed:0;
	field:const char * u_msg_ptr;	offset:24;	size:8;	signed:0;
	field:size_t msg_len;	offset:32;	size:8;	signed:0;
	field:unsigned int msg_prio;	offset:40;	size:8;	signed:0;
	field:const struct __kernel_timespec * u_abs_timeout;	offset:48;	size:8;	signed:0;
	field:__data_loc char[] __u_msg_ptr_val;	offset:56;	size:4;	signed:0;

print fmt: "mqdes: 0x%08lx, u_msg_ptr: 0x%08lx (%s), msg_len: 0x%08lx, msg_prio: 0x%08lx, u_abs_timeout: 0x%08lx", ((unsigned long)(REC->mqdes)), ((unsigned long)(REC->u_msg_ptr)), __print_dynamic_array(__u_msg_ptr_val, 1), ((unsigned long)(REC->msg_len)), ((unsigned long)(REC->msg_prio)), ((unsigned long)(REC->u_abs_timeout))
"#;
const SETHOSTNAME: &str = r#"	field:char * name;	offset:16;	size:8;	signed:0;
	field:int len;	offset:24;	size:8;	signed:0;
	field:__data_loc char[] __name_val;	offset:32;	size:4;	signed:0;

print fmt: "name: 0x%08lx \"%s\", len: 0x%08lx", ((unsigned long)(REC->name)), __get_str(__name_val), ((unsigned long)(REC->len))
"#;
/// Before 6.19.
const CLOSE: &str = "\tfield:unsigned int fd;\toffset:16;\tsize:8;\tsigned:0;\n\n\
    print fmt: \"fd: 0x%08lx\", ((unsigned long)(REC->fd))\n";

/// A synthetic kernel, made of a few regular files.
struct Kernel {
    directory: TempDir,
}

impl Kernel {
    fn of(release: &str) -> Self {
        let kernel = Self { directory: tempfile::tempdir().unwrap() };
        let print = format!(
            "name: print\nID: 5\n{COMMON}\tfield:char buf[];\toffset:16;\tsize:0;\tsigned:0;\n\nprint fmt: \"\"\n"
        );
        kernel.put("events/ftrace/print/format", &print);
        kernel.put("proc/sys/kernel/osrelease", release);
        kernel
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The text of a call with these arguments, and the data that one of them points to.
    fn text(&self, name: &str, fields: &str, arguments: &[u64], data: &[u8]) -> String {
        let procfs = self.path().join("proc");
        let mut formatter = Formatter::with_procfs(self.path(), self.path(), &procfs).unwrap();
        let id = formatter.add("syscalls", EventFormat::parse(&format_file(name, fields)).unwrap());
        let mut line = Vec::new();
        formatter.write_record(0, 0, &record(id, arguments, data), &mut line);
        String::from_utf8(line).unwrap().split_once(": ").unwrap().1.trim_end().to_owned()
    }
}

fn format_file(name: &str, fields: &str) -> String {
    format!("name: sys_enter_{name}\nID: 99\n{COMMON}{NUMBER}{fields}")
}

fn record(id: u16, arguments: &[u64], data: &[u8]) -> Vec<u8> {
    let mut record = vec![0; 16];
    record[..2].copy_from_slice(&id.to_ne_bytes());
    arguments.iter().for_each(|argument| record.extend(argument.to_ne_bytes()));
    let start = record.len() + 4;
    record.extend(((data.len() << 16 | start) as u32).to_ne_bytes());
    record.extend(data);
    record
}

fn openat(kernel: &Kernel, flags: u64, mode: u64) -> String {
    kernel.text("openat", OPENAT, &[5, 10_847_656, flags, mode], b"/missing/zz\0")
}

#[test]
fn flags_of_openat_have_names() {
    let kernel = Kernel::of("7.3.4");
    let line = |rest: &str| format!("sys_openat(dfd: 5, filename: 10847656 \"/missing/zz\", flags: {rest})");
    let temporary = u64::from((OFlag::O_TMPFILE | OFlag::O_RDWR).bits().cast_unsigned());
    for (flags, expected) in [
        (0, "O_RDONLY"),
        (1, "O_WRONLY"),
        (3, "O_WRONLY|O_RDWR"),
        (0x80000, "O_RDONLY|O_CLOEXEC"),
        (0x101000, "O_RDONLY|O_DSYNC|0x100000"),
        (0x8000_0000, "O_RDONLY|0xffffffff80000000"),
        (0x241, "O_WRONLY|O_CREAT|O_TRUNC, mode: 0755"),
        (temporary, "O_TMPFILE|O_RDWR, mode: 0755"),
    ] {
        assert_eq!(openat(&kernel, flags, 0o755), line(expected), "{flags:#x}");
    }
    assert_eq!(openat(&kernel, 0x41, 7), line("O_WRONLY|O_CREAT, mode: 0007"));
    // The kernel takes O_DIRECTORY, which is in O_TMPFILE, for a creation.
    #[cfg(target_arch = "x86_64")]
    assert_eq!(openat(&kernel, 0x10000, 0o755), line("O_RDONLY|O_DIRECTORY, mode: 0755"));
}

#[test]
fn verbose_openat_is_printed_as_any_other_call() {
    let kernel = Kernel::of("7.3.4");
    kernel.put("options/verbose", "1\n");
    assert_eq!(
        openat(&kernel, 0x80000, 0),
        "sys_openat(int dfd: 5, const char * filename: 0xa585a8 \"/missing/zz\", int flags: 0x80000, umode_t mode: 0)"
    );
}

#[test]
fn bytes_are_printed_with_their_characters() {
    let kernel = Kernel::of("7.3.4");
    let write = |data: &[u8], count: u64| kernel.text("write", WRITE, &[3, 0x7f05, count], data);
    for (data, count, expected) in [
        (&b"x"[..], 1, r#"(78) "x", count: 1"#),
        (b"d\n\0\xff", 4, r#"(64:0a:00:ff) "d...", count: 4"#),
        (&[0, 1, 2], 3, "(00:01:02), count: 3"),
        (b"zz", 300, r#"(7a:7a, ...) "zz"..., count: 0x12c"#),
        (b"\n\n", 300, "(0a:0a, ...), count: 0x12c"),
        (b"", 0, "(), count: 0"),
        (b"", 77, "(, ...), count: 0x4d"),
        // The kernel compares with the size as an int.
        (b"abc", u64::MAX, r#"(61:62:63) "abc", count: 0xffffffffffffffff"#),
        (b"abc", 0x1_0000_0002, r#"(61:62:63) "abc", count: 0x100000002"#),
    ] {
        assert_eq!(write(data, count), format!("sys_write(fd: 3, buf: 0x7f05 {expected})"));
    }
    assert_eq!(
        kernel.text("mq_timedsend", MQ_TIMEDSEND, &[9, 0x7f05, 4, 5, 0], b"msg!"),
        r#"sys_mq_timedsend(mqdes: 9, u_msg_ptr: 0x7f05 (6d:73:67:21) "msg!", msg_len: 4, msg_prio: 5, u_abs_timeout: 0)"#
    );
}

#[test]
fn strings_are_printed_after_their_pointers() {
    let kernel = Kernel::of("7.3.4");
    let sethostname = |data: &[u8]| kernel.text("sethostname", SETHOSTNAME, &[0x7f05, 5], data);
    assert_eq!(sethostname(b"hosty"), r#"sys_sethostname(name: 0x7f05 "hosty", len: 5)"#);
    assert_eq!(sethostname(b"ho\0st"), r#"sys_sethostname(name: 0x7f05 "ho", len: 5)"#);
    assert_eq!(sethostname(b""), r#"sys_sethostname(name: 0x7f05 "", len: 5)"#);
}

#[test]
fn numbers_have_a_prefix_since_6_18() {
    let close = |kernel: &Kernel, fd: u64| kernel.text("close", CLOSE, &[fd], b"");
    let older = Kernel::of("6.12.3-generic");
    assert_eq!((close(&older, 3), close(&older, 12)), ("sys_close(fd: 3)".into(), "sys_close(fd: c)".into()));
    let newer = Kernel::of("6.18.0");
    assert_eq!(
        (close(&newer, 3), close(&newer, 12)),
        ("sys_close(fd: 3)".into(), "sys_close(fd: 0xc)".into())
    );
}

/// A distribution may add what its kernel's version does not have.
#[test]
fn the_style_of_numbers_is_that_of_a_kernel_which_records_strings() {
    let kernel = Kernel::of("6.12.3-generic");
    kernel.put("events/syscalls/sys_enter_openat/format", &format_file("openat", OPENAT));
    assert_eq!(kernel.text("close", CLOSE, &[12], b""), "sys_close(fd: 0xc)");
}

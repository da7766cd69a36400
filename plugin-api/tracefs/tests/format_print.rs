//! Synthetic print formats, in a synthetic tracefs.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;
use tracefs::format::{BadFormat, EventFormat, Formatter, Shape, Unprintable};

const COMMON: &str = "format:\n\
    \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
    \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n";

/// The fields of the synthetic event.
const FIELDS: &str = "\tfield:u64 big;\toffset:8;\tsize:8;\tsigned:0;\n\
    \tfield:int small;\toffset:16;\tsize:4;\tsigned:1;\n\
    \tfield:u8 byte;\toffset:20;\tsize:1;\tsigned:0;\n\
    \tfield:short half;\toffset:22;\tsize:2;\tsigned:1;\n\
    \tfield:char comm[8];\toffset:24;\tsize:8;\tsigned:0;\n\
    \tfield:__data_loc char[] text;\toffset:32;\tsize:4;\tsigned:0;\n\
    \tfield:__rel_loc char[] near;\toffset:36;\tsize:4;\tsigned:0;\n\
    \tfield:__u8 ip[4];\toffset:40;\tsize:4;\tsigned:0;\n\
    \tfield:__u8 ip6[16];\toffset:44;\tsize:16;\tsigned:0;\n\
    \tfield:u32 list[3];\toffset:60;\tsize:12;\tsigned:0;\n\
    \tfield:__data_loc u16[] words;\toffset:72;\tsize:4;\tsigned:0;\n\
    \tfield:const char * kernel;\toffset:80;\tsize:8;\tsigned:0;\n\
    \tfield:__data_loc cpumask_t mask;\toffset:88;\tsize:4;\tsigned:0;\n\
    \tfield:my_type odd;\toffset:92;\tsize:2;\tsigned:0;\n\n";

fn record() -> Vec<u8> {
    let mut record = vec![0; 128];
    let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &99u16.to_ne_bytes());
    put(4, &4711i32.to_ne_bytes());
    put(8, &0xffff_8000_1234_5678u64.to_ne_bytes());
    put(16, &(-5i32).to_ne_bytes());
    put(20, &[200]);
    put(22, &(-300i16).to_ne_bytes());
    put(24, b"a comm");
    put(32, &(96u32 | 6 << 16).to_ne_bytes());
    put(96, b"hello\0");
    put(36, &(64u32 | 5 << 16).to_ne_bytes());
    put(104, b"near\0");
    put(40, &[127, 0, 0, 1]);
    put(44, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    put(60, &1u32.to_ne_bytes());
    put(64, &20u32.to_ne_bytes());
    put(68, &300u32.to_ne_bytes());
    put(72, &(112u32 | 6 << 16).to_ne_bytes());
    put(112, &[1, 0, 2, 0, 0xff, 0xff]);
    put(80, &0xffff_ffff_8000_0001u64.to_ne_bytes());
    put(88, &(120u32 | 8 << 16).to_ne_bytes());
    put(120, &[0x0f, 1, 0, 0, 0, 0, 0, 0]);
    put(92, &7u16.to_ne_bytes());
    record
}

/// A synthetic tracefs and procfs, made of a few regular files.
struct Tree {
    directory: TempDir,
}

impl Tree {
    fn new() -> Self {
        let tree = Self { directory: tempfile::tempdir().unwrap() };
        let print = format!(
            "name: print\nID: 5\n{COMMON}\tfield:unsigned long ip;\toffset:8;\tsize:8;\tsigned:0;\n\
            \tfield:char buf[];\toffset:16;\tsize:0;\tsigned:0;\n\nprint fmt: \"%ps: %s\", (void *)REC->ip, REC->buf\n"
        );
        tree.put("events/ftrace/print/format", &print);
        tree.put("printk_formats", "0xffffffff80000001 : \"of the kernel\\n\"\n0xffffffff80000009 : \"%s is %d%% of %llx, %c %hhd %5s|%-4u|%pS\"\n");
        tree.put("saved_cmdlines", "4711 with blank\n12 two\nlines\n13 100%\n14 longer than sixteen\n");
        tree.put("proc/kallsyms", "ffffffff80000000 T _stext\nffffffff80001000 t first\nffffffff80001000 t second\n\
            ffffffff80001100 t third\nffffffff80002000 T _etext\nffffffffc0000000 t helper\t[module]\nffffffffc0000010 t more\t[module]\n");
        tree.put("proc/sys/kernel/osrelease", "6.18.0\n");
        tree
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn put(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn formatter(&self) -> Formatter {
        Formatter::with_procfs(self.path(), self.path(), &self.path().join("proc")).unwrap()
    }
}

fn event(print_fmt: &str) -> EventFormat {
    EventFormat::parse(&format!("name: made\nID: 99\n{COMMON}{FIELDS}print fmt: {print_fmt}\n")).unwrap()
}

/// The text of the record with this print format, without the context before it.
fn printed(print_fmt: &str) -> String {
    let tree = Tree::new();
    let mut formatter = tree.formatter();
    formatter.add("test", event(print_fmt));
    let reason = formatter.unprintable(99).cloned();
    assert_eq!(reason, None, "{print_fmt}");
    text_of(&mut formatter, &record())
}

fn text_of(formatter: &mut Formatter, record: &[u8]) -> String {
    let mut line = Vec::new();
    formatter.write_record(1, 1_500, record, &mut line);
    let line = String::from_utf8(line).unwrap();
    let (before, text) = line.split_once("made: ").unwrap();
    assert!(before.ends_with("     0.000002: "), "{before}");
    text.strip_suffix('\n').unwrap().to_owned()
}

fn unprintable(print_fmt: &str) -> Unprintable {
    let tree = Tree::new();
    let mut formatter = tree.formatter();
    formatter.add("test", event(print_fmt));
    formatter.unprintable(99).cloned().unwrap_or_else(|| panic!("{print_fmt}"))
}

#[test]
fn conversions() {
    for (print_fmt, expected) in [
        (r#""%d %i %u", REC->small, REC->small, REC->small"#, "-5 -5 4294967291"),
        (
            r#""%llx %llu %Lx %lx", REC->big, REC->big, REC->big, REC->big"#,
            "ffff800012345678 18446603336526616184 ffff800012345678 ffff800012345678",
        ),
        (
            r#""%x|%X|%#x|%#X|%o|%#o", REC->byte, REC->byte, REC->byte, REC->byte, REC->byte, REC->byte"#,
            "c8|C8|0xc8|0XC8|310|0310",
        ),
        (r#""%#x %#o", 0, 0"#, "0x0 0"),
        (
            r#""[%6d][%-6d][%06d][%+d][% d]", REC->small, REC->small, REC->small, 7, 7"#,
            "[    -5][-5    ][-00005][+7][ 7]",
        ),
        (r#""[%.4d][%8.4d][%-8.4d][%08.4d]", 42, 42, 42, 42"#, "[0042][    0042][0042    ][00000042]"),
        (r#""[%#010x][%#10x]", 0x2a, 0x2a"#, "[0x0000002a][      0x2a]"),
        (r#""%hd %hu %hhd %hhu", REC->half, REC->half, REC->byte, REC->byte"#, "-300 65236 -56 200"),
        (r#""%zu %zd %td %jd", sizeof(u64), sizeof(int), 3L, -1"#, "8 4 3 -1"),
        (r#""%c%c", 'o', 75"#, "oK"),
        (r#""[%*d][%-*d][%*d]", 4, 7, 4, 7, -4, 7"#, "[   7][7   ][7   ]"),
        (
            r#""%s|%10s|%-10s|%.2s|%.*s", REC->comm, REC->comm, REC->comm, REC->comm, 3, REC->comm"#,
            "a comm|    a comm|a comm    |a |a c",
        ),
        (r#""100%% %s", __get_str(text)"#, "100% hello"),
        (r#""%s %s", __get_rel_str(near), __get_str(near)"#, "near near"),
        ("\"two \" \"parts\\t\\x41\\101\\\\\\\"\"", "two parts\tAA\\\""),
        (r#""%s", REC->kernel"#, "of the kernel\n"),
        (r#""%pK", (void *)REC->big"#, "?"),
        (r#""%p %px", (void *)REC->big, (void *)1"#, "ffff800012345678 0000000000000001"),
        (
            r#""%20p|%-20px|", (void *)REC->big, (void *)REC->big"#,
            "    ffff800012345678|ffff800012345678    |",
        ),
    ] {
        assert_eq!(printed(print_fmt), expected, "{print_fmt}");
    }
}

#[test]
fn arithmetic_is_that_of_c() {
    for (expression, expected) in [
        ("REC->small + 1", "-4"),
        ("REC->byte + 100", "300"),
        ("(u8)(REC->byte + 100)", "44"),
        ("REC->small > 1U", "1"),
        ("REC->small > 1", "0"),
        ("REC->big > 0", "1"),
        ("-9ULL > 1", "1"),
        ("REC->half >> 2", "-75"),
        ("(unsigned short)REC->half >> 2", "16309"),
        ("1 << 4 | 1", "17"),
        ("2 + 3 * 4 - 1", "13"),
        ("(2 + 3) * 4 % 7", "6"),
        ("10 / 0", "0"),
        ("-7 / 2", "-3"),
        ("~0", "-1"),
        ("!REC->small", "0"),
        ("!!REC->small && (0 || 1)", "1"),
        ("REC->small == -5 ? 10 : 20", "10"),
        ("REC->list[1] + REC->list[2]", "320"),
        ("*(u32 *)REC->list", "1"),
        ("((u16 *)__get_dynamic_array(words))[2]", "65535"),
        ("__get_dynamic_array_len(words) / sizeof(u16)", "3"),
        ("*(&REC->list[1])", "20"),
        ("({ int a = REC->small; int b = (3); a < b ? a : b; })", "-5"),
        ("__builtin_expect(!!(REC->small), 0)", "1"),
        ("ntohs(0x1234)", "13330"),
        ("(enum some_kind)REC->byte", "200"),
        ("(my_type)(REC->small)", "65531"),
        ("sizeof(my_type)", "2"),
        ("(int)0xffffffff", "-1"),
        ("0x7fffffff + 1", "-2147483648"),
    ] {
        assert_eq!(printed(&format!("\"%d\", {expression}")), expected, "{expression}");
    }
    assert_eq!(
        printed(r#""%llu %u", __print_ns_to_secs(REC->big), __print_ns_without_secs(1234567890123ULL)"#),
        "18446603336 567890123"
    );
}

#[test]
fn helpers() {
    let flags = r#"{ 1, "A" }, { 4, "C" }, { 0xc0, "HIGH" }"#;
    for (print_fmt, expected) in [
        (format!(r#""%s", __print_flags(REC->byte, "|", {flags})"#), "HIGH|0x8"),
        (format!(r#""%s", __print_flags(5, "", {flags})"#), "AC"),
        (format!(r#""[%s]", __print_flags(0, "|", {flags})"#), "[]"),
        (format!(r#""%s", __print_flags(16, "|", {flags}, {{ 0, ((void *)0) }})"#), "0x10"),
        (format!(r#""%s", __print_symbolic(4, {flags})"#), "C"),
        (format!(r#""%s", __print_symbolic(REC->small, {flags}, {{ -5, "MINUS" }})"#), "MINUS"),
        (format!(r#""%s", __print_symbolic(3, {flags})"#), "0x3"),
        (r#""%s", __print_symbolic(3, { })"#.to_owned(), "0x3"),
        (format!(r#""%8s|", REC->byte ? __print_symbolic(1, {flags}) : "none""#), "       A|"),
        (r#""%s", __print_hex(REC->ip, 4)"#.to_owned(), "7f 00 00 01"),
        (
            r#""%s", __print_hex_str(__get_dynamic_array(words), __get_dynamic_array_len(words))"#.to_owned(),
            "01000200ffff",
        ),
        (r#""%s", __print_array(REC->list, 3, 4)"#.to_owned(), "{0x1,0x14,0x12c}"),
        (r#""%s", __print_array(__get_dynamic_array(words), 3, sizeof(u16))"#.to_owned(), "{0x1,0x2,0xffff}"),
        (r#""%s", __print_dynamic_array(words, 2)"#.to_owned(), "{0x1,0x2,0xffff}"),
        (r#""%s", __get_cpumask(mask)"#.to_owned(), "00000000,0000010f"),
        (r#""%*pbl", 64, __get_dynamic_array(mask)"#.to_owned(), "0-3,8"),
        (r#""%pI4 %pi4", REC->ip, REC->ip"#.to_owned(), "127.0.0.1 127.000.000.001"),
        (
            r#""%pI6c %pI6", REC->ip6, REC->ip6"#.to_owned(),
            "2001:db8::1 2001:0db8:0000:0000:0000:0000:0000:0001",
        ),
        (
            r#""%pM %*ph %*phC", REC->ip6, 4, REC->ip, 4, REC->ip"#.to_owned(),
            "20:01:0d:b8:00:00 7f 00 00 01 7f:00:00:01",
        ),
        (r#""%pU", REC->ip6"#.to_owned(), "20010db8-0000-0000-0000-000000000001"),
        (
            r#""%pS|%ps", (void *)0xffffffff80001020, (void *)0xffffffff80001020"#.to_owned(),
            "first+0x20/0x100|first",
        ),
        (
            r#""%pS|%ps", (void *)0xffffffffc0000004, (void *)0x1234"#.to_owned(),
            "helper+0x4/0x10 [module]|0x1234",
        ),
    ] {
        assert_eq!(printed(&print_fmt), expected, "{print_fmt}");
    }
}

#[test]
fn unevaluable_formats_are_reported() {
    assert_eq!(unprintable(r#""%d", SOME_ENUM"#), Unprintable::Name("SOME_ENUM".into()));
    assert_eq!(unprintable(r#""%d", REC->nothing"#), Unprintable::Name("REC->nothing".into()));
    assert_eq!(unprintable(r#""%s", compute(REC->big)"#), Unprintable::Function("compute".into()));
    assert_eq!(unprintable(r#""%d", (unknown_t)REC->big"#), Unprintable::Type("unknown_t".into()));
    assert_eq!(unprintable(r#""%pd", REC->comm"#), Unprintable::Conversion("pd".into()));
    assert_eq!(unprintable(r#""%y""#), Unprintable::Conversion("y".into()));
    assert_eq!(unprintable(r#""%d %d", 1"#), Unprintable::Argument);
    assert_eq!(
        unprintable(&format!("\"%d\", {}1{}", "(".repeat(5000), ")".repeat(5000))),
        Unprintable::Depth
    );
    assert_eq!(unprintable(&format!("\"%d\", {}1", "REC->byte + ".repeat(5000))), Unprintable::Depth);
    assert!(matches!(unprintable(r#""%d", 1 +"#), Unprintable::Syntax(_)));
    assert!(matches!(unprintable(r#""%d", "text""#), Unprintable::Syntax(_)));
    assert!(matches!(unprintable(r#""open"#), Unprintable::Syntax(_)));
}

#[test]
fn exponential_expansion_of_variables_is_refused() {
    let mut statements = "int a0 = REC->byte;".to_owned();
    for number in 1..40 {
        statements += &format!(" int a{number} = a{0} + a{0};", number - 1);
    }
    assert_eq!(unprintable(&format!("\"%d\", ({{ {statements} a39; }})")), Unprintable::Depth);
}

#[test]
fn unknown_address_does_not_affect_other_arguments() {
    let print_fmt = r#""page=%p order=%d", REC->big ? ((struct page *)vmemmap_base) + (REC->big) : ((void *)0), REC->small"#;
    assert_eq!(printed(print_fmt), "page=? order=-5");
}

#[test]
fn unprintable_events_are_printed_field_by_field() {
    let tree = Tree::new();
    let mut formatter = tree.formatter();
    formatter.add("test", event(r#""%d", SOME_ENUM"#));
    assert_eq!(
        text_of(&mut formatter, &record()),
        "big=0xffff800012345678 small=-5 byte=0xc8 half=-300 comm=a comm text=hello near=near ip={0x7f,0x0,0x0,0x1} \
         ip6={0x20,0x1,0xd,0xb8,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x0,0x1} list={0x1,0x14,0x12c} \
         words={0x1,0x0,0x2,0x0,0xff,0xff} kernel=0xffffffff80000001 mask={0xf,0x1,0x0,0x0,0x0,0x0,0x0,0x0} odd=0x7"
    );
}

#[test]
fn newlines_in_text_do_not_split_the_line() {
    let tree = Tree::new();
    let mut formatter = tree.formatter();
    formatter.add("test", event(r#""%s %s", REC->comm, __get_str(text)"#));
    let mut record = record();
    record[25] = b'\n';
    record[97] = b'\n';
    assert_eq!(text_of(&mut formatter, &record), "a?comm h?llo");
}

#[test]
fn names_of_tasks() {
    let tree = Tree::new();
    let mut formatter = tree.formatter();
    formatter.add("test", event("\"\""));
    let mut name = |pid: i32| {
        let mut record = record();
        record[4..8].copy_from_slice(&pid.to_ne_bytes());
        let mut line = Vec::new();
        formatter.write_record(0, 0, &record, &mut line);
        String::from_utf8(line).unwrap().split(" [").next().unwrap().to_owned()
    };
    assert_eq!(name(4711), "      with blank-4711   ");
    assert_eq!(name(0), "          <idle>-0      ");
    assert_eq!(name(-1), "           <XXX>--1     ");
    assert_eq!(name(99), "           <...>-99     ");
    // `saved_cmdlines` has one name per line, but does not escape newlines in names.
    assert_eq!(name(12), "       two?lines-12     ");
    assert_eq!(name(13), "            100%-13     ");
    assert_eq!(name(12_345_678), "           <...>-12345678");
}

#[test]
fn names_are_updated_from_events() {
    let tree = Tree::new();
    let mut formatter = tree.formatter();
    let format = format!(
        "name: made\nID: 99\n{COMMON}\tfield:pid_t pid;\toffset:8;\tsize:4;\tsigned:1;\n\
        \tfield:char newcomm[16];\toffset:12;\tsize:16;\tsigned:0;\n\nprint fmt: \"\"\n"
    );
    formatter.add("task", EventFormat::parse(&format).unwrap());
    let mut record = vec![0; 28];
    record[0..2].copy_from_slice(&99u16.to_ne_bytes());
    record[4] = 77;
    record[8] = 77;
    record[12..15].copy_from_slice(b"new");
    let mut lines = Vec::new();
    formatter.write_record(0, 0, &record, &mut lines);
    formatter.write_record(0, 0, &record, &mut lines);
    let lines = String::from_utf8(lines).unwrap();
    let names: Vec<&str> = lines.lines().map(|line| line.split('-').next().unwrap().trim()).collect();
    assert_eq!(names, ["<...>", "new"]);
}

/// `mmap:exit_mmap` of Linux 6.1.
#[test]
fn newline_at_the_end_of_a_print_format_makes_no_second_line() {
    let tree = Tree::new();
    let mut formatter = tree.formatter();
    let format = format!(
        "name: exit_mmap\nID: 98\n{COMMON}\tfield:struct mm_struct * mm;\toffset:8;\tsize:8;\tsigned:0;\n\
        \tfield:struct maple_tree * mt;\toffset:16;\tsize:8;\tsigned:0;\n\nprint fmt: \"mt_mod %p, DESTROY\\n\", REC->mt\n"
    );
    formatter.add("mmap", EventFormat::parse(&format).unwrap());
    let mut record = vec![0; 24];
    record[0] = 98;
    record[16] = 0x40;
    let mut line = Vec::new();
    formatter.write_record(0, 0, &record, &mut line);
    let line = String::from_utf8(line).unwrap();
    assert!(line.ends_with("exit_mmap: mt_mod 0000000000000040, DESTROY\n"), "{line:?}");
    assert_eq!(line.lines().count(), 1);
}

/// Before Linux 5.16, the whole count is the depth of disabled preemption.
#[test]
fn flags_have_the_letters_of_the_kernels_own_text() {
    let flags = |comment: &str| {
        let tree = Tree::new();
        tree.put("trace", comment);
        let mut formatter = tree.formatter();
        formatter.add("test", event("\"\""));
        let mut record = record();
        (record[2], record[3]) = (0x01, 0x12);
        let mut line = Vec::new();
        formatter.write_record(1, 1_500, &record, &mut line);
        let line = String::from_utf8(line).unwrap();
        line.split_once("] ").unwrap().1.split_once(' ').unwrap().0.to_owned()
    };
    let preemption = "# tracer: nop\n#   || / _--=> preempt-depth\n#   ||| /     delay\n";
    assert_eq!(flags(preemption), "d..12");
    assert_eq!(flags(&preemption.replace("/     delay", "/ _-=> migrate-disable")), "d..21");
}

#[test]
fn thread_groups() {
    let tree = Tree::new();
    tree.put("options/record-tgid", "1\n");
    tree.put("saved_tgids", "12 11\n4711 4700\n");
    let mut formatter = tree.formatter();
    formatter.add("test", event("\"\""));
    let mut context = |pid: i32| {
        let mut record = record();
        record[4..8].copy_from_slice(&pid.to_ne_bytes());
        let mut line = Vec::new();
        formatter.write_record(1, 1_500, &record, &mut line);
        String::from_utf8(line).unwrap().split_once(']').unwrap().0.to_owned()
    };
    assert_eq!(context(4711), "      with blank-4711    (   4700) [001");
    assert_eq!(context(4712), "           <...>-4712    (-------) [001");
}

#[test]
fn binary_printk() {
    let tree = Tree::new();
    let mut formatter = tree.formatter();
    let format = format!(
        "name: bprint\nID: 6\n{COMMON}\tfield:unsigned long ip;\toffset:8;\tsize:8;\tsigned:0;\n\
        \tfield:const char * fmt;\toffset:16;\tsize:8;\tsigned:0;\n\tfield:u32 buf[];\toffset:24;\tsize:0;\tsigned:0;\n\nprint fmt: \"%ps: %s\", (void *)REC->ip, REC->fmt\n"
    );
    formatter.add("ftrace", EventFormat::parse(&format).unwrap());
    let mut record = vec![6, 0, 0, 0, 0, 0, 0, 0];
    record.extend_from_slice(&0xffff_ffff_8000_1000u64.to_ne_bytes());
    record.extend_from_slice(&0xffff_ffff_8000_0009u64.to_ne_bytes());
    record.extend_from_slice(b"it\0\0");
    record.extend_from_slice(&50i32.to_ne_bytes());
    record.extend_from_slice(&0xabcdef0123u64.to_ne_bytes());
    record.extend_from_slice(&[b'c', 0xff]);
    record.extend_from_slice(b"xyz\0\0\0");
    record.extend_from_slice(&7u32.to_ne_bytes());
    record.extend_from_slice(&0xffff_ffff_8000_1004u64.to_ne_bytes());
    let mut line = Vec::new();
    formatter.write_record(0, 0, &record, &mut line);
    let line = String::from_utf8(line).unwrap();
    assert!(line.ends_with(": first: it is 50% of abcdef0123, c -1   xyz|7   |first+0x4/0x100\n"), "{line}");
}

#[test]
fn unknown_types_are_printed_as_by_the_kernel() {
    let tree = Tree::new();
    let mut formatter = tree.formatter();
    let mut line = Vec::new();
    formatter.write_record(0, 0, &record(), &mut line);
    assert!(line.ends_with(b": Unknown type 99\n"));
    line.clear();
    formatter.write_record(0, 0, &[1], &mut line);
    assert_eq!(line, b"Unknown type 0\n");
    line.clear();
    Formatter::write_gap(3, Some(17), &mut line);
    Formatter::write_gap(3, None, &mut line);
    assert_eq!(line, b"CPU:3 [LOST 17 EVENTS]\nCPU:3 [LOST EVENTS]\n");
}

#[test]
fn unreadable_format_affects_only_its_event() {
    let tree = Tree::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    tree.put("events/made/unreadable/id", "98\n");
    fs::create_dir_all(tree.path().join("events/made/unreadable/format")).unwrap();
    tree.put("events/made/malformed/id", "97\n");
    tree.put("events/made/malformed/format", "name: malformed\nnothing else\n");
    tree.put("events/made/made/id", "99\n");
    let valid = format!("name: made\nID: 99\n{COMMON}{FIELDS}print fmt: \"valid\"\n");
    tree.put("events/made/made/format", &valid);
    let mut formatter = tree.formatter();
    for (id, end) in [(98u16, "Unknown type 98\n"), (97, "Unknown type 97\n"), (99, "made: valid\n")] {
        let mut record = record();
        record[..2].copy_from_slice(&id.to_ne_bytes());
        let mut line = Vec::new();
        formatter.write_record(1, 1_500, &record, &mut line);
        assert!(line.ends_with(end.as_bytes()), "{}", text(&line));
    }
}

#[test]
fn a_format_is_read_once() {
    let tree = Tree::new();
    let format = format!("name: made\nID: 99\n{COMMON}{FIELDS}print fmt: \"valid\"\n");
    tree.put("events/made/made/format", &format);
    let mut formatter = tree.formatter();
    assert_eq!(formatter.load("made", "made").unwrap(), 99);
    fs::remove_dir_all(tree.path().join("events/made")).unwrap();
    assert_eq!(formatter.load("made", "made").unwrap(), 99);
    assert_eq!(formatter.format_of("made", "made").unwrap().name, "made");
    assert!(formatter.load("other", "made").is_err());
}

#[test]
fn fields() {
    let format = event("\"\"");
    assert_eq!(
        (format.name.as_str(), format.id, format.fields.len(), format.own_fields().len()),
        ("made", 99, 18, 14)
    );
    let record = record();
    let number = |name: &str| format.field(name).unwrap().number(&record);
    assert_eq!(number("common_pid"), Some(4711));
    assert_eq!(number("small"), Some(-5));
    assert_eq!(number("byte"), Some(200));
    assert_eq!(number("comm"), None);
    assert_eq!(format.field("big").unwrap().number(&record[..10]), None);
    assert_eq!(format.field("text").unwrap().bytes(&record), Some(b"hello\0".as_slice()));
    assert_eq!(format.field("near").unwrap().bytes(&record), Some(b"near\0".as_slice()));
    assert_eq!(format.field("list").unwrap().shape, Shape::Array { element: 4 });
    assert_eq!(format.field("words").unwrap().shape, Shape::DataLoc);
    assert_eq!(EventFormat::parse("ID: 1\n"), Err(BadFormat::Missing("name:")));
    let bad = format!("name: x\nID: 1\n{COMMON}\tfield:nonsense\n\nprint fmt: \"\"\n");
    assert_eq!(EventFormat::parse(&bad), Err(BadFormat::Field("field:nonsense".into())));
}

/// Found by the fuzz target `format`.
#[test]
fn non_ascii_character_before_a_field_name_is_accepted() {
    let text =
        format!("name: x\nID: 1\n{COMMON}\tfield:__u8\u{70c}addr;\toffset:8;\tsize:1;\n\nprint fmt: \"\"\n");
    assert_eq!(EventFormat::parse(&text).unwrap().own_fields()[0].name, "addr");
}

/// Fragments of print formats, to be combined at random.
fn fragment() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "REC->big",
        "REC->small",
        "REC->comm",
        "REC->list",
        "REC",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ",",
        ";",
        "?",
        ":",
        "+",
        "-",
        "*",
        "/",
        "%",
        "<<",
        ">>",
        "&",
        "&&",
        "|",
        "!",
        "~",
        "==",
        "<",
        "->",
        "0",
        "1",
        "0xffffffffffffffff",
        "\"%s\"",
        "\"%d %llx\"",
        "\"%*pbl\"",
        "\"%pI6c\"",
        "\"%.*s\"",
        "__print_flags(",
        "__print_symbolic(",
        "__print_array(",
        "__print_hex(",
        "__get_str(text)",
        "__get_dynamic_array(words)",
        "sizeof(",
        "(u32 *)",
        "(int)",
        "({",
        "})",
        "int a =",
        "a",
        "text",
        "words",
        "'x'",
        "NULL",
    ])
}

proptest! {
    #[test]
    fn any_print_format_is_handled_without_panic(
        print_fmt in "\\PC{0,80}",
        record in prop::collection::vec(any::<u8>(), 0..150),
    ) {
        run(&print_fmt, record);
    }

    #[test]
    fn any_fragments_are_handled_without_panic(
        format in "[%a-zA-Z0-9.*#+ -]{0,30}",
        fragments in prop::collection::vec(fragment(), 0..30),
        record in prop::collection::vec(any::<u8>(), 0..150),
    ) {
        run(&format!("\"{format}\", {}", fragments.join(" ")), record);
    }

    #[test]
    fn any_format_file_is_handled_without_panic(
        text in "(name: a\n|ID: 5\n|field:[a-z_ \\[\\]*]{0,20};|offset:[0-9]{0,12};|size:[0-9]{0,12};|signed:1;|\n|print fmt: |\"%s\"|, REC->a){0,30}",
    ) {
        let _ = EventFormat::parse(&text);
    }

    #[test]
    fn numbers_are_printed_as_by_rust(value: u64) {
        let tree = Tree::new();
        let mut formatter = tree.formatter();
        let arguments = ", REC->big".repeat(8);
        formatter.add("test", event(&format!("\"%llu %lld %llx %llX %llo %#llx %d %u\"{arguments}")));
        let mut record = record();
        record[8..16].copy_from_slice(&value.to_ne_bytes());
        let (signed, int) = (value as i64, value as i32);
        let expected = format!("{value} {signed} {value:x} {value:X} {value:o} {value:#x} {int} {}", value as u32);
        prop_assert_eq!(text_of(&mut formatter, &record), expected);
    }
}

fn run(print_fmt: &str, mut record: Vec<u8>) {
    thread_local!(static TREE: Tree = Tree::new());
    TREE.with(|tree| {
        let Ok(format) =
            EventFormat::parse(&format!("name: made\nID: 99\n{COMMON}{FIELDS}print fmt: {print_fmt}\n"))
        else {
            return;
        };
        let mut formatter = tree.formatter();
        formatter.add("test", format);
        if let Some(id) = record.get_mut(..2) {
            id.copy_from_slice(&99u16.to_ne_bytes());
        }
        let mut line = Vec::new();
        formatter.write_record(0, 0, &record, &mut line);
        assert!(line.ends_with(b"\n"));
    });
}

//! Fuzzes print formats. The input is a print format and a record, separated by a NUL.
#![no_main]

use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tracefs::format::{EventFormat, Formatter};

const COMMON: &str = "format:\n\
    \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
    \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
    \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
    \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n";
const FIELDS: &str = "\tfield:u64 a;\toffset:8;\tsize:8;\tsigned:0;\n\
    \tfield:int b;\toffset:16;\tsize:4;\tsigned:1;\n\
    \tfield:char c[8];\toffset:24;\tsize:8;\tsigned:0;\n\
    \tfield:__data_loc char[] d;\toffset:32;\tsize:4;\tsigned:0;\n\
    \tfield:__rel_loc u32[] e;\toffset:36;\tsize:4;\tsigned:0;\n\
    \tfield:unsigned long __probe_ip;\toffset:40;\tsize:8;\tsigned:0;\n\n";

thread_local!(static TREE: TempDir = tree());

/// A directory with the files of tracefs that a formatter needs.
fn tree() -> TempDir {
    let tree = tempfile::tempdir().expect("a directory");
    let print = tree.path().join("events/ftrace/print");
    fs::create_dir_all(&print).expect("a directory");
    fs::write(print.join("format"), format!("name: print\nID: 5\n{COMMON}{FIELDS}print fmt: \"\"\n"))
        .expect("a file");
    tree
}

fuzz_target!(|bytes: &[u8]| {
    let split = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (print_fmt, record) = bytes.split_at(split);
    let Ok(print_fmt) = std::str::from_utf8(print_fmt) else { return };
    let Ok(format) = EventFormat::parse(&format!("name: x\nID: 7\n{COMMON}{FIELDS}print fmt: {print_fmt}\n"))
    else {
        return;
    };
    TREE.with(|tree| {
        let mut formatter =
            Formatter::with_procfs(tree.path(), tree.path(), Path::new("/nonexistent")).expect("a formatter");
        formatter.add("test", format);
        let mut record = record.get(1..).unwrap_or_default().to_vec();
        if let Some(id) = record.get_mut(..2) {
            id.copy_from_slice(&7u16.to_ne_bytes());
        }
        let mut line = Vec::new();
        formatter.write_record(0, 0, &record, &mut line);
        assert!(line.ends_with(b"\n"));
    });
});

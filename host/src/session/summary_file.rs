//! The summary of a session whose trace is not complete, for an operator who looks into the run directory.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;

use super::record::Record;
use crate::output;
use crate::worker::protocol::Summary;

/// Writes the summary beside the trace file. A failure of the session is added.
pub fn write(record: &Record, summary: &Summary, failure: Option<&str>) {
    let mut text = format!("{summary}\n");
    text.extend(summary.warnings.iter().map(|warning| format!("warning: {}\n", warning.text)));
    if summary.unread > 0 {
        text += &format!("unread: {}\n", record.trace_path().display());
    }
    if let Some(failure) = failure {
        text += &format!("failed: {}\n", output::one_line(failure));
    }
    append(&record.summary_path(), &text);
}

/// Adds a line about what happened to the unread output later.
pub fn note(path: &Path, line: &str) {
    append(path, &format!("{line}\n"));
}

fn append(path: &Path, text: &str) {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    if let Err(error) = options.open(path).and_then(|mut file| file.write_all(text.as_bytes())) {
        log::warn!("cannot write {}: {error}", path.display());
    }
}

//! Checks the format of a session's lines.

use trace_hook_api::{HookError, Result, is_plain};

/// Checks that a line is UTF-8 without control and format characters, so that every terminal displays it as it is.
pub fn check_plain(line: &[u8]) -> Result<()> {
    const REMEDY: &str = "write text from other programs with LineBuffer::event and EventLine::text";
    let Ok(text) = str::from_utf8(line.strip_suffix(b"\n").unwrap_or(line)) else {
        let text = String::from_utf8_lossy(line);
        return Err(HookError::new(format!("a line is not UTF-8; {REMEDY}: {text:?}")));
    };
    match text.chars().find(|c| !is_plain(*c)) {
        None => Ok(()),
        Some(c) => Err(HookError::new(format!(
            "a line has a control or format character, {}; {REMEDY}: {text:?}",
            c.escape_default()
        ))),
    }
}

/// Checks that a line is a JSON object.
pub fn check_json(line: &[u8]) -> Result<()> {
    match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line) {
        Ok(_) => Ok(()),
        Err(error) => {
            let line = String::from_utf8_lossy(line);
            Err(HookError::new(format!("a line is not a JSON object ({error}): {}", line.trim_end())))
        }
    }
}

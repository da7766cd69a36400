//! `error_log`: the kernel's explanations of commands that it refused.

use crate::dir::Dir;

/// The latest entry of the log in a directory: the reason, the text that was refused, and a caret under the place.
pub(crate) fn latest_error(dir: &Dir) -> Option<String> {
    latest_entry(&dir.read("error_log").ok()?)
}

/// Each entry begins with a line such as `[   12.345678] event filter parse error: error: Field not found`; its other lines
/// are indented.
fn latest_entry(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().collect();
    let first = lines.iter().rposition(|line| line.starts_with('['))?;
    let headline = lines[first].split_once("] ").map_or(lines[first], |(_, text)| text);
    let rest = lines[first + 1..].iter().map(|line| format!("\n{}", line.trim_end()));
    Some(rest.fold(headline.to_owned(), |text, line| text + &line).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_entry_is_returned_without_its_time() {
        let log = "[    1.0] event filter parse error: error: Old\n  Command: x\n           ^\n\
                   [  200.123456] event filter parse error: error: Field not found\n  Command: foo == 1\n           ^\n";
        let expected = "event filter parse error: error: Field not found\n  Command: foo == 1\n           ^";
        assert_eq!(latest_entry(log).as_deref(), Some(expected));
        assert_eq!(latest_entry(""), None);
    }
}

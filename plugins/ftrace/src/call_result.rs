//! What a system call returned, as fields of a line.

use trace_hook_api::EventLine;
use trace_syscalls::{error_name, error_of};

/// Adds the result of a call: `result`, and the `error` that it stands for, if any.
pub fn show_result(line: EventLine<'_>, returned: i64, is_address: bool) -> EventLine<'_> {
    match error_of(returned) {
        Some(error) => line.number("result", returned).word("error", &error_name(error)),
        None if is_address => line.address("result", returned as u64),
        None => line.number("result", returned),
    }
}

#[cfg(test)]
mod tests {
    use trace_hook_api::{LineBuffer, Origin};

    use super::*;

    fn result(returned: i64) -> String {
        let mut lines = LineBuffer::with_room(1000);
        drop(show_result(lines.event(&Origin::default(), "x"), returned, false));
        let line = String::from_utf8(lines.as_bytes().to_vec()).unwrap();
        line.split_once("x: ").unwrap().1.trim_end().to_owned()
    }

    #[test]
    fn errors_are_printed_by_number_and_name() {
        assert_eq!(result(3), "result=3");
        assert_eq!(result(-2), "result=-2 error=ENOENT");
        assert_eq!(result(-512), "result=-512 error=ERESTARTSYS");
        assert_eq!(result(-4096), "result=-4096");
    }
}

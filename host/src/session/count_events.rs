use memchr::memchr_iter;

/// How many events these lines tell of. A line about lost events, or one that continues a stack, is none.
pub fn count_events(lines: &[u8]) -> u64 {
    let ends = memchr_iter(b'\n', lines).map(|end| end + 1);
    let unended = (!lines.is_empty() && !lines.ends_with(b"\n")).then_some(lines.len());
    let mut begin = 0;
    let lines = ends.chain(unended).map(|end| &lines[std::mem::replace(&mut begin, end)..end]);
    lines.filter(|line| is_event(line)).count() as u64
}

fn is_event(line: &[u8]) -> bool {
    let is_loss = (line.starts_with(b"CPU:") && line.ends_with(b"EVENTS]\n"))
        || line.starts_with(b"{\"event\":\"lost\",\"cpu\":");
    // A task, too, may have a name that begins like this; its id follows in a column of its own.
    let has_task = line.get(16) == Some(&b'-') && line.get(17).is_some_and(u8::is_ascii_digit);
    let is_frame = line.starts_with(b" => ") && !has_task;
    !is_loss && !is_frame
}

#[cfg(test)]
mod tests {
    use trace_hook_api::{LineBuffer, Origin};

    use super::*;

    #[test]
    fn marks_and_stacks_are_no_events() {
        let lines =
            b"  a-1 [000] 1.0: x\nCPU:1 [LOST 12 EVENTS]\n  a-1 [000] 1.0: <stack trace>\n => f\n => g\n";
        assert_eq!(count_events(lines), 2);
        assert_eq!(count_events(b" => not a stack!-4711    [000] ..... 1.0: x\n"), 1);
        assert_eq!(count_events(b""), 0);
        let lines = "{\"time\":1.0,\"event\":\"x\"}\n{\"event\":\"lost\",\"cpu\":1,\"count\":3}\n";
        assert_eq!(count_events(lines.as_bytes()), 1);
    }

    #[test]
    fn a_tasks_name_does_not_hide_its_events() {
        for name in [
            "=> ",
            " => ",
            " => \u{1}\u{1}\u{1}",
            "=> \u{1}\u{1}\u{1}\u{1}",
            "=> long enough",
            "CPU:1 [LOST EVENTS]",
        ] {
            let mut lines = LineBuffer::with_room(4096);
            let origin = Origin::at(0).tid(7).comm(name.as_bytes());
            drop(lines.event(&origin, "x"));
            lines.folded_stack(&origin, name.as_bytes(), [].into_iter(), 1);
            assert_eq!(count_events(lines.as_bytes()), 2, "{:?}", str::from_utf8(lines.as_bytes()));
        }
    }
}

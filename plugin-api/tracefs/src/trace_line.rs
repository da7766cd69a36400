//! The fixed columns of the kernel's text output, and what a task filter needs to know of a line.
//!
//! ```text
//!             bash-1234    [001] d..2.  2094.642903: sched_switch: prev_comm=…
//! ```
//! The command name is padded on the left to 16 columns and may hold any bytes, even blanks, dashes
//! and newlines; so the task's id follows the dash in column 17, wherever other dashes are.

use crate::Pid;

/// The width of the command name, and so the place of the dash.
const NAME_WIDTH: usize = 16;

/// A line that tells which task made the record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'l> {
    /// The task in whose context the event happened.
    pub(crate) task: Pid,
    /// The event's name and fields, if the time stamp is where it should be.
    event: &'l [u8],
}

/// A new task, as `task:task_newtask` tells it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewTask {
    pub(crate) pid: Pid,
    pub(crate) clone_flags: u64,
}

/// The length of the first line including its newline; `None` if its end is not there yet.
pub(crate) fn first_line(text: &[u8]) -> Option<usize> {
    // A newline within a command name is not the end of the line.
    let skipped = if task_and_rest(text).is_some() { NAME_WIDTH } else { 0 };
    let end = text[skipped..].iter().position(|&byte| byte == b'\n')?;
    Some(skipped + end + 1)
}

/// Appends a line, with newlines in its command name replaced, so that it is *one* line to everyone.
pub(crate) fn append_line(out: &mut Vec<u8>, line: &[u8]) {
    let (inner, last) = line.split_at(line.len().saturating_sub(1));
    out.extend(inner.iter().map(|&byte| if byte == b'\n' { b'?' } else { byte }));
    out.extend(last);
}

/// `CPU:1 [LOST 12 EVENTS]`
pub(crate) fn tells_of_loss(line: &[u8]) -> bool {
    line.starts_with(b"CPU:")
}

/// `None` for what is not a record of its own: notes of losses, lines of a stack trace…
pub(crate) fn record(line: &[u8]) -> Option<Record<'_>> {
    let (task, rest) = task_and_rest(line)?;
    let event = find(rest, b": ").map_or(&rest[..0], |colon| &rest[colon + 2..]);
    Some(Record { task, event })
}

impl Record<'_> {
    /// The task that this record announces, if it is one of `task:task_newtask`:
    /// `task_newtask: pid=%d comm=%s clone_flags=%lx oom_score_adj=%hd`.
    pub(crate) fn new_task(&self) -> Option<NewTask> {
        let fields = self.event.strip_prefix(b"task_newtask: pid=")?;
        let flags = &fields[rfind(fields, b" clone_flags=")? + b" clone_flags=".len()..];
        let end = flags.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(flags.len());
        let clone_flags = u64::from_str_radix(std::str::from_utf8(&flags[..end]).ok()?, 16).ok()?;
        Some(NewTask { pid: number(fields)?.0, clone_flags })
    }

    /// The tasks that the record is about besides the one that made it, for those events that the kernel
    /// records also for their sake.
    pub(crate) fn subjects(&self) -> Option<[Option<Pid>; 2]> {
        let fields = |name: &[u8]| self.event.strip_prefix(name)?.strip_prefix(b": ");
        if let Some(fields) = fields(b"sched_switch") {
            let next_task = rfind(fields, b" ==> next_comm=").unwrap_or(fields.len());
            let (prev, next) = fields.split_at(next_task);
            return Some([last(prev, b" prev_pid="), last(next, b" next_pid=")]);
        }
        let names: [&[u8]; 3] = [b"sched_waking", b"sched_wakeup", b"sched_wakeup_new"];
        names.iter().find_map(|name| fields(name)).map(|fields| [last(fields, b" pid="), None])
    }
}

/// The task's id, and what follows `[cpu] `; an option may have put `(tgid) ` before that.
fn task_and_rest(line: &[u8]) -> Option<(Pid, &[u8])> {
    // Command names are at most 15 bytes long, so the first column is always blank.
    if line.first() != Some(&b' ') || line.get(NAME_WIDTH) != Some(&b'-') {
        return None;
    }
    let (task, rest) = number(&line[NAME_WIDTH + 1..])?;
    let rest = rest.strip_prefix(b" ")?.trim_ascii_start();
    let rest = match rest.strip_prefix(b"(") {
        Some(tgid) => tgid[find(tgid, b")")? + 1..].trim_ascii_start(),
        None => rest,
    };
    let (_cpu, rest) = number(rest.strip_prefix(b"[")?)?;
    Some((task, rest.strip_prefix(b"] ")?))
}

fn number(text: &[u8]) -> Option<(Pid, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let value = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    Some((value, &text[end..]))
}

fn last(fields: &[u8], key: &[u8]) -> Option<Pid> {
    let start = rfind(fields, key)? + key.len();
    Some(number(&fields[start..])?.0)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn rfind(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).rposition(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(name: &[u8], task: Pid, tgid: &str, event: &str) -> Vec<u8> {
        let mut line = vec![b' '; NAME_WIDTH - name.len()];
        line.extend(name);
        line.extend(format!("-{task:<7} {tgid}[001] d..2.  2094.642903: {event}\n").into_bytes());
        line
    }

    #[test]
    fn a_new_task_is_announced() {
        let line = line(
            b"bash",
            7,
            "",
            "task_newtask: pid=1235 comm=a clone_flags=1 clone_flags=3d0f00 oom_score_adj=0",
        );
        let record = record(&line).expect("a record");
        assert_eq!(record.task, 7);
        assert_eq!(record.new_task(), Some(NewTask { pid: 1235, clone_flags: 0x3d_0f00 }));
        assert_eq!(record.subjects(), None);
    }

    #[test]
    fn only_the_event_itself_announces() {
        let line = line(
            b"bash",
            7,
            "",
            "tracing_mark_write: task_newtask: pid=1 comm=a clone_flags=0 oom_score_adj=0",
        );
        assert_eq!(record(&line).and_then(|record| record.new_task()), None);
    }

    #[test]
    fn scheduling_events_name_their_subjects() {
        let switch = "sched_switch: prev_comm=a prev_pid=9 prev_pid=12 prev_prio=120 prev_state=S ==> next_comm=b c next_pid=13 next_prio=120";
        let line1 = line(b"<idle>", 0, "", switch);
        assert_eq!(record(&line1).expect("record").subjects(), Some([Some(12), Some(13)]));
        for name in ["sched_waking", "sched_wakeup", "sched_wakeup_new"] {
            let line = line(b"<idle>", 0, "", &format!("{name}: comm=x pid=5 prio=120 target_cpu=000"));
            assert_eq!(record(&line).expect("record").subjects(), Some([Some(5), None]));
        }
    }

    #[test]
    fn other_lines_are_not_records() {
        for text in ["CPU:1 [LOST 12 EVENTS]\n", " => do_syscall_64\n", "<stack trace>\n", "\n", ""] {
            assert_eq!(record(text.as_bytes()), None);
        }
        assert!(tells_of_loss(b"CPU:1 [LOST 12 EVENTS]\n"));
    }

    proptest! {
        #[test]
        fn any_command_name_is_survived(
            name in prop::collection::vec(1u8.., 0..NAME_WIDTH),
            task in 0..=4_194_304,
            tgid in prop::sample::select(vec!["", "(-------) ", "(   1234) "]),
        ) {
            let mut text = line(&name, task, tgid, "sys_getpid()");
            let length = text.len();
            text.extend(b"the next line\n");
            prop_assert_eq!(first_line(&text), Some(length));
            let found = record(&text[..length]).expect("a record");
            prop_assert_eq!(found.task, task);
            prop_assert_eq!(found.event, b"sys_getpid()\n");
            let mut out = Vec::new();
            append_line(&mut out, &text[..length]);
            prop_assert_eq!(out.len(), length);
            prop_assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
        }

        #[test]
        fn any_bytes_are_survived(text in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(end) = first_line(&text) {
                prop_assert!(end <= text.len());
            }
            if let Some(record) = record(&text) {
                let _ = (record.new_task(), record.subjects());
            }
        }
    }
}

//! The records of an instance as the kernel's own text.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use nix::fcntl::OFlag;

use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::task_filter::TaskFilter;
use crate::trace_line::{Record, append_line, first_line, record, tells_of_loss};

/// The reader of an instance's `trace_pipe`: whole lines, each read once.
///
/// The kernel lets nobody else open `trace_pipe` meanwhile, and does not remove the instance before
/// this is dropped.
#[derive(Debug)]
pub struct TracePipe {
    file: File,
    path: PathBuf,
    lines: Lines,
}

impl TracePipe {
    /// Opens the pipe. With a filter, only the records that it keeps pass; that needs the default
    /// output format, for it reads the tasks' ids out of the lines.
    pub fn open(instance: &Instance, filter: Option<TaskFilter>) -> Result<TracePipe> {
        let file = instance.dir.open_file("trace_pipe", OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
        Ok(TracePipe { file, path: instance.path().join("trace_pipe"), lines: Lines::new(filter) })
    }

    /// Appends whole lines to `out`, about `room` bytes of them, without waiting for more to come.
    ///
    /// Returns true if it stopped for want of room, so that there may be more right now; false if the
    /// ring buffer was found empty. A single line that is longer than `room` is passed all the same.
    pub fn read_lines(&mut self, out: &mut Vec<u8>, room: usize) -> Result<bool> {
        let start = out.len();
        // What is read counts even if nothing of it passes, so that the caller gets his turn.
        let mut taken = 0;
        while self.lines.move_to(out, start, room) && taken < room {
            match self.lines.take_from(&mut self.file) {
                Ok(0) => return Ok(false),
                Ok(count) => taken += count,
                Err(error) => return Err(Error::io("read", &self.path, error)),
            }
        }
        Ok(true)
    }

    /// The filter that was given.
    pub fn filter(&self) -> Option<&TaskFilter> {
        self.lines.filter.as_ref()
    }
}

/// Takes in chunks of text and gives out the lines that pass.
#[derive(Debug)]
struct Lines {
    filter: Option<TaskFilter>,
    text: Vec<u8>,
    /// How much of the text has been given out.
    done: usize,
    /// Whether the latest record passed; the lines that belong to it share its fate.
    passing: bool,
}

impl Lines {
    /// More than the kernel gives in one read (two pages at most, kernel 6.18).
    const CHUNK: usize = 16 * 1024;

    fn new(filter: Option<TaskFilter>) -> Lines {
        Lines { filter, text: Vec::new(), done: 0, passing: true }
    }

    /// How many bytes came; none if the ring buffer is empty.
    fn take_from(&mut self, pipe: &mut File) -> std::io::Result<usize> {
        self.text.drain(..self.done);
        self.done = 0;
        let length = self.text.len();
        self.text.resize(length + Self::CHUNK, 0);
        let result = loop {
            match pipe.read(&mut self.text[length..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(0),
                result => break result,
            }
        };
        self.text.truncate(length + *result.as_ref().unwrap_or(&0));
        if let (Ok(0), Some(filter)) = (&result, &mut self.filter) {
            filter.caught_up();
        }
        result
    }

    /// Moves the lines that pass to the end of `out`, of which at most `room` bytes may follow after `start`.
    /// Returns whether there is room left when all are moved.
    fn move_to(&mut self, out: &mut Vec<u8>, start: usize, room: usize) -> bool {
        while let Some(length) = first_line(&self.text[self.done..]) {
            let used = out.len() - start;
            if used > 0 && used + length > room {
                return false;
            }
            let line = &self.text[self.done..self.done + length];
            if passes(line, &mut self.filter, &mut self.passing) {
                append_line(out, line);
            }
            self.done += length;
        }
        out.len() - start < room
    }
}

fn passes(line: &[u8], filter: &mut Option<TaskFilter>, passing: &mut bool) -> bool {
    let Some(filter) = filter else { return true };
    match record(line) {
        Some(record) => {
            *passing = record_passes(&record, filter);
            *passing
        }
        None => *passing || tells_of_loss(line),
    }
}

fn record_passes(record: &Record, filter: &mut TaskFilter) -> bool {
    if let Some(new) = record.new_task() {
        filter.new_task(record.task, new.pid, new.clone_flags);
        return filter.shows_new_tasks() && filter.keeps(record.task);
    }
    match record.subjects() {
        Some([first, second]) => {
            let tasks: Vec<_> = [Some(record.task), first, second].into_iter().flatten().collect();
            filter.keeps_any(&tasks)
        }
        None => filter.keeps(record.task),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::Procfs;
    use crate::targets::{Follow, Targets};
    use std::collections::HashMap;
    use std::path::Path;

    fn filter(follow: Follow) -> TaskFilter {
        let mut targets = Targets::new();
        targets.add(10, follow);
        TaskFilter::new(Procfs::at(Path::new("/nonexistent")), targets, HashMap::from([(10, follow)]))
    }

    fn record(task: i32, event: &str) -> String {
        format!("{:>16}-{task:<7} [000] .....   1.000001: {event}\n", "sh")
    }

    fn passed(filter: Option<TaskFilter>, text: &str) -> String {
        let mut lines = Lines::new(filter);
        lines.text = text.as_bytes().to_vec();
        let mut out = Vec::new();
        assert!(lines.move_to(&mut out, 0, usize::MAX));
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn without_a_filter_everything_passes() {
        let text = record(10, "sys_a()") + "CPU:1 [LOST 3 EVENTS]\n" + &record(20, "sys_b()");
        assert_eq!(passed(None, &text), text);
    }

    #[test]
    fn with_a_filter_only_its_tasks_and_losses_pass() {
        let fork = record(10, "task_newtask: pid=20 comm=sh clone_flags=1200000 oom_score_adj=0");
        let stack = "<stack trace>\n => do_syscall_64\n";
        let (ours, theirs) = (record(10, "sys_a()") + stack, record(20, "sys_b()") + stack);
        let lost = "CPU:1 [LOST 3 EVENTS]\n".to_owned();
        let text = fork + &ours + &theirs + &lost;
        assert_eq!(passed(Some(filter(Follow::ALONE)), &text), ours + &lost);
        assert_eq!(passed(Some(filter(Follow::CHILDREN)), &text), theirs + &lost);
    }

    #[test]
    fn announcements_pass_only_if_asked_for() {
        let fork = record(10, "task_newtask: pid=20 comm=sh clone_flags=1200000 oom_score_adj=0");
        let theirs = record(20, "task_newtask: pid=21 comm=sh clone_flags=1200000 oom_score_adj=0");
        let mut asked = filter(Follow::ALONE);
        asked.show_new_tasks(true);
        assert_eq!(passed(Some(asked), &(fork.clone() + &theirs)), fork);
    }

    #[test]
    fn room_is_kept_to_and_a_tail_waits_for_its_end() {
        let mut lines = Lines::new(None);
        lines.text = b"one\ntwo\nthree\nfo".to_vec();
        let mut out = Vec::new();
        assert!(!lines.move_to(&mut out, 0, 9));
        assert_eq!(out, b"one\ntwo\n");
        assert!(!lines.move_to(&mut out, 8, 3), "a long line passes all the same, and fills the room");
        assert_eq!(out, b"one\ntwo\nthree\n");
        lines.text.extend(b"ur\n");
        assert!(lines.move_to(&mut out, 14, 100));
        assert!(out.ends_with(b"three\nfour\n"));
    }
}

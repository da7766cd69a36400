use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Upper bound of the comment that the kernel's text begins with.
const LONGEST_COMMENT: u64 = 2048;

/// The settings of an instance that change how its events are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Print task, CPU, flags and time before the event.
    pub(super) context: bool,
    /// Print the flags column.
    pub(super) irq_info: bool,
    /// The flags column has a letter for the depth of disabled migration. Linux 5.16 and later.
    pub(super) migrate_depth: bool,
    /// Print the thread group before the CPU.
    pub(super) tgid: bool,
    /// Print symbols with offset and size.
    pub(super) symbol_offset: bool,
    /// Print symbols with their address.
    pub(super) symbol_address: bool,
    /// Print system calls with the types of their arguments.
    pub(super) verbose: bool,
    /// Time stamps are in nanoseconds, and printed in seconds.
    pub(super) nanoseconds: bool,
}

impl Options {
    pub(super) fn read(instance: &Path) -> Self {
        let option = |name: &str, default: bool| {
            let text = fs::read_to_string(instance.join("options").join(name));
            text.map_or(default, |text| text.trim() == "1")
        };
        let clocks = fs::read_to_string(instance.join("trace_clock")).unwrap_or_default();
        Self {
            context: option("context-info", true),
            irq_info: option("irq-info", true),
            migrate_depth: has_migrate_depth(instance),
            tgid: option("record-tgid", false),
            symbol_offset: option("sym-offset", false),
            symbol_address: option("sym-addr", false),
            verbose: option("verbose", false),
            nanoseconds: current(&clocks).is_none_or(in_nanoseconds),
        }
    }
}

/// Whether the kernel prints the depth of disabled migration. Only the comment at the begin of its text names the letters of
/// the flags column (`print_event_info` and `print_func_help_header_irq` in `kernel/trace/trace.c`).
fn has_migrate_depth(instance: &Path) -> bool {
    let comment = File::open(instance.join("trace")).and_then(|file| {
        let mut comment = Vec::new();
        file.take(LONGEST_COMMENT).read_to_end(&mut comment).map(|_| comment)
    });
    comment.map_or(true, |comment| names_migrate_depth(&String::from_utf8_lossy(&comment)))
}

/// If the comment does not describe the column, the letters are those of current kernels.
fn names_migrate_depth(text: &str) -> bool {
    let comment = || text.lines().take_while(|line| line.starts_with('#'));
    let has = |what: &str| comment().any(|line| line.ends_with(what));
    has("=> migrate-disable") || !has("=> preempt-depth")
}

/// The current clock, which is the one in brackets.
fn current(clocks: &str) -> Option<&str> {
    clocks.split_ascii_whitespace().find_map(|clock| clock.strip_prefix('[')?.strip_suffix(']'))
}

/// `in_ns` of `trace_clocks[]` in `kernel/trace/trace.c`. Clocks that are not in this table are specific to an
/// architecture, and count cycles.
fn in_nanoseconds(clock: &str) -> bool {
    matches!(clock, "local" | "global" | "perf" | "mono" | "mono_raw" | "boot" | "tai")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX_5_10: &str = "\
# tracer: nop
#
# entries-in-buffer/entries-written: 0/0   #P:2
#
#                                _-----=> irqs-off
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| /     delay
#           TASK-PID     CPU#  ||||   TIMESTAMP  FUNCTION
#              | |         |   ||||      |         |
";

    #[test]
    fn the_kernels_comment_names_the_letters() {
        assert!(!names_migrate_depth(LINUX_5_10));
        let linux_6_1 = LINUX_5_10.replace("||| /     delay", "||| / _-=> migrate-disable");
        assert!(names_migrate_depth(&linux_6_1));
        assert!(names_migrate_depth("# tracer: nop\n"), "the column is not described");
        let record = format!("{LINUX_5_10}  sh-1 [000] d... 1.0: print: => migrate-disable\n");
        assert!(!names_migrate_depth(&record), "a record is no comment");
    }
}

use std::fs;
use std::path::Path;

/// The settings of an instance that change how its events are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Print task, CPU, flags and time before the event.
    pub(super) context: bool,
    /// Print the flags column.
    pub(super) irq_info: bool,
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
            tgid: option("record-tgid", false),
            symbol_offset: option("sym-offset", false),
            symbol_address: option("sym-addr", false),
            verbose: option("verbose", false),
            nanoseconds: current(&clocks).is_none_or(in_nanoseconds),
        }
    }
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

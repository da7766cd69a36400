//! The options that the host provides for every hook.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction};
use trace_hook_api::{HookInfo, Unit};

use super::value::{duration, integer, pid};

/// An option of every hook.
///
/// A hook cannot have a parameter of the name or the short form of a reserved one. Any other gives way to a hook's own parameter,
/// for that hook only: as those do that a later version adds, since plugins were built when their names were free.
#[derive(Debug, Clone, Copy)]
pub struct CommonOption {
    pub name: &'static str,
    pub short: Option<char>,
    pub is_reserved: bool,
    pub help: &'static str,
    /// Adds the values that the option takes.
    pub takes: fn(Arg) -> Arg,
}

pub const PID: &str = "pid";
pub const PARENT: &str = "parent";
pub const CGROUP: &str = "cgroup";
pub const CONTAINER: &str = "container";
pub const WHOLE_CGROUP: &str = "whole-cgroup";
pub const ALL: &str = "all";
pub const TIME: &str = "time";
pub const EXACT: &str = "exact";
pub const FORMAT: &str = "format";
pub const FAILED: &str = "failed";
pub const OVER: &str = "over";
pub const WHERE: &str = "where";
pub const COLUMNS: &str = "columns";
pub const TIME_FORMAT: &str = "time-format";
pub const BUFFER_SIZE: &str = "buffer-size";
pub const SPOOL_SIZE: &str = "spool-size";
pub const DRAIN: &str = "drain";

/// The options, in the order of the help.
pub const OPTIONS: [CommonOption; 17] = [
    CommonOption {
        name: PID,
        short: Some('p'),
        is_reserved: true,
        help: "trace these processes, their threads, and their descendants",
        takes: pids,
    },
    CommonOption {
        name: PARENT,
        short: None,
        is_reserved: true,
        help: "trace the descendants of these processes, but not the processes themselves",
        takes: pids,
    },
    CommonOption {
        name: CGROUP,
        short: None,
        is_reserved: true,
        help: "trace the processes of these cgroups, also those that join later: directories, or paths as in /proc/PID/cgroup",
        takes: |arg| arg.value_name("PATH").num_args(1..).action(ArgAction::Append),
    },
    CommonOption {
        name: CONTAINER,
        short: None,
        is_reserved: true,
        help: "trace the containers with these ids, or unique prefixes of ids",
        takes: |arg| arg.value_name("ID").num_args(1..).value_delimiter(',').action(ArgAction::Append),
    },
    CommonOption {
        name: WHOLE_CGROUP,
        short: None,
        is_reserved: true,
        help: "trace the whole cgroups of --pid, as --cgroup does",
        takes: |arg| arg.action(ArgAction::SetTrue).requires(PID),
    },
    CommonOption {
        name: ALL,
        short: None,
        is_reserved: true,
        help: "trace all tasks of the machine",
        takes: |arg| arg.action(ArgAction::SetTrue),
    },
    CommonOption {
        name: TIME,
        short: Some('t'),
        is_reserved: true,
        help: "end after this time; in ms without a unit",
        takes: |arg| {
            arg.value_name("TIME")
                .value_parser(|word: &str| duration(word, Unit::Milliseconds, 1, 4_320_000_000))
        },
    },
    CommonOption {
        name: EXACT,
        short: None,
        is_reserved: true,
        help: "do not trace the descendants of --pid",
        takes: |arg| arg.action(ArgAction::SetTrue),
    },
    CommonOption {
        name: FORMAT,
        short: None,
        is_reserved: true,
        help: "format of the lines; json: one object per line",
        takes: |arg| arg.value_name("FORMAT").value_parser(PossibleValuesParser::new(["text", "json"])),
    },
    CommonOption {
        name: FAILED,
        short: None,
        is_reserved: false,
        help: "only events with an error",
        takes: |arg| arg.action(ArgAction::SetTrue),
    },
    CommonOption {
        name: OVER,
        short: None,
        is_reserved: false,
        help: "only events that took longer than this; in us without a unit",
        takes: |arg| {
            arg.value_name("TIME")
                .value_parser(|word: &str| duration(word, Unit::Microseconds, 0, 86_400_000_000))
        },
    },
    CommonOption {
        name: WHERE,
        short: None,
        is_reserved: true,
        help: "only events that meet a condition on their fields, such as 'error == ENOENT && duration > 1ms'",
        takes: |arg| arg.value_name("CONDITION"),
    },
    CommonOption {
        name: COLUMNS,
        short: None,
        is_reserved: true,
        help: "only these fields, in this order: time,comm,path",
        takes: |arg| arg.value_name("FIELD").num_args(1..).value_delimiter(',').action(ArgAction::Append),
    },
    CommonOption {
        name: TIME_FORMAT,
        short: None,
        is_reserved: true,
        help: "time since boot, by the wall clock, or since the line before",
        takes: |arg| {
            arg.value_name("FORMAT").value_parser(PossibleValuesParser::new(["boot", "wall", "delta"]))
        },
    },
    CommonOption {
        name: BUFFER_SIZE,
        short: None,
        is_reserved: true,
        help: "size of the kernel's buffer for each CPU",
        takes: |arg| arg.value_name("KIB").value_parser(|word: &str| integer(word, 1, i64::MAX >> 10)),
    },
    CommonOption {
        name: SPOOL_SIZE,
        short: None,
        is_reserved: true,
        help: "how much to keep for a slow reader before events are lost",
        takes: |arg| {
            arg.value_name("MIB").value_parser(|word: &str| integer(word, 1, 1 << 20)).default_value("256")
        },
    },
    CommonOption {
        name: DRAIN,
        short: None,
        is_reserved: true,
        help: "how long to wait at the end for a reader that makes progress; with --follow there is no limit unless this \
               option is given; in s without a unit",
        takes: |arg| {
            arg.value_name("TIME")
                .value_parser(|word: &str| duration(word, Unit::Seconds, 0, 86_400))
                .default_value("10s")
        },
    },
];

fn pids(arg: Arg) -> Arg {
    arg.value_name("PID").num_args(1..).value_delimiter(',').action(ArgAction::Append).value_parser(pid)
}

impl CommonOption {
    /// Returns whether a hook's parameter of this name and short form would be taken for this option.
    fn has(&self, name: &str, short: Option<char>) -> bool {
        self.name == name || (short.is_some() && self.short == short)
    }

    /// The option as an argument of this hook. `None`: the hook has a parameter of that name.
    pub fn arg(&self, hook: &HookInfo) -> Option<Arg> {
        if hook.params.iter().any(|param| param.name == self.name) {
            return None;
        }
        let arg = (self.takes)(Arg::new(self.name).long(self.name).help(self.help));
        // So that -1 is a wrong value and not an unknown option.
        let takes_value = arg.get_action().takes_values();
        let arg = arg.allow_negative_numbers(takes_value);
        let is_free = |letter: &char| hook.params.iter().all(|param| param.short != Some(*letter));
        Some(match self.short.filter(is_free) {
            Some(letter) => arg.short(letter),
            None => arg,
        })
    }
}

/// Returns whether a hook cannot have a parameter of this name or short form.
pub fn is_reserved(options: &[CommonOption], name: &str, short: Option<char>) -> bool {
    let mut reserved = options.iter().filter(|option| option.is_reserved);
    name == "help" || short == Some('h') || reserved.any(|option| option.has(name, short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_reserved_options_are_refused() {
        let options =
            ["pid", "parent", "cgroup", "container", "whole-cgroup", "all", "time", "exact", "format"];
        for name in options.into_iter().chain([
            "where",
            "columns",
            "time-format",
            "buffer-size",
            "spool-size",
            "drain",
            "help",
        ]) {
            assert!(is_reserved(&OPTIONS, name, None), "{name}");
        }
        assert!(is_reserved(&OPTIONS, "x", Some('t')) && is_reserved(&OPTIONS, "x", Some('h')));
        for free in ["syscall", "over", "failed"] {
            assert!(!is_reserved(&OPTIONS, free, Some('s')), "{free}");
        }
    }
}

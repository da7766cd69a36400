//! The arguments of a hook: those that every hook has, and those that it declares.

mod every_hook;
mod host_options;
mod listing;
mod own;
mod run;
mod selection;
mod usage;
mod value;
mod view;
mod words;

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use trace_hook_api::{Arguments, Environment, Format, HookInfo, Request, TaskSelection, View};

pub use host_options::HostOptions;
pub use listing::{Listing, listing};
pub use run::{RunOptions, RunWords, parse as parse_run, run_command, run_command_of};
pub use selection::GivenTasks;
pub use usage::usage;
pub use words::HookArguments;

use crate::error::{Error, Result};
use every_hook::CommonOption;

/// The headings of the two groups of arguments.
const OWN: &str = "own";
const COMMON: &str = "common";

/// The arguments of a run.
#[derive(Debug)]
pub struct RunArguments {
    /// The tasks.
    pub tasks: GivenTasks,
    /// When to end without a signal.
    pub time: Option<Duration>,
    /// The format of the lines.
    pub format: Format,
    /// How the lines are presented.
    pub view: View,
    /// The size of the kernel's buffer in KiB per CPU.
    pub buffer_size: Option<u64>,
    /// How many bytes to keep for a slow reader.
    pub spool_size: u64,
    /// How long to wait at the end for a reader that makes progress, if that was given.
    pub drain: Option<Duration>,
    /// The hook's own parameters.
    pub own: Arguments,
}

impl RunArguments {
    /// How long a caller's reader may take at the end where no `--drain` is given, on a machine that is as fast as expected.
    pub const DRAIN: Duration = Duration::from_secs(10);

    /// The request for a session of this name, of these tasks.
    pub fn request(
        self,
        hook: &HookInfo,
        session: &str,
        tasks: TaskSelection,
        environment: &Environment,
    ) -> Request {
        let mut request = Request::new(&hook.name, session, tasks);
        request.environment = environment.clone();
        request.arguments = self.own;
        request.format = self.format;
        request.view = self.view;
        request.buffer_size = self.buffer_size;
        request.spool_size = self.spool_size;
        request
    }
}

/// Returns whether a hook cannot have a parameter of this name or short form: it is one of the host's.
pub fn is_reserved(name: &str, short: Option<char>) -> bool {
    every_hook::is_reserved(&every_hook::OPTIONS, name, short) || run::is_option(name, short)
}

/// Returns whether this word is an option that every hook has, such as `--pid` or `-p`.
pub fn is_option_of_hooks(word: &str) -> bool {
    every_hook::OPTIONS.iter().any(|option| {
        let short = option.short.map(|letter| format!("-{letter}"));
        word.strip_prefix("--") == Some(option.name) || short.as_deref() == Some(word)
    })
}

/// The arguments of a hook, as a command line of their own.
pub fn command(hook: &HookInfo) -> Command {
    command_with(&every_hook::OPTIONS, hook)
}

fn command_with(options: &[CommonOption], hook: &HookInfo) -> Command {
    let is_hidden = |name| selection::is_unsupported(hook, name) || view::is_unsupported(hook, name);
    let common =
        options.iter().filter_map(|option| option.arg(hook).map(|arg| arg.hide(is_hidden(option.name))));
    let command = Command::new(hook.name.clone())
        .no_binary_name(true)
        .disable_help_flag(true)
        .args(hook.params.iter().map(|param| own::arg(param).help_heading(OWN)))
        .args(common.map(|arg| arg.help_heading(COMMON)));
    let formats = hook.formats.iter().map(|format| format.name());
    command.mut_arg(every_hook::FORMAT, |arg| {
        arg.value_parser(PossibleValuesParser::new(formats)).hide(hook.formats == [Format::Text])
    })
}

/// Checks the words against what the hook declares.
///
/// # Errors
///
/// The first word that is wrong, as a usage error.
pub fn parse(hook: &HookInfo, words: &HookArguments) -> Result<RunArguments> {
    parse_with(&every_hook::OPTIONS, hook, words)
}

fn parse_with(options: &[CommonOption], hook: &HookInfo, words: &HookArguments) -> Result<RunArguments> {
    let command = command_with(options, hook);
    let matches = command.try_get_matches_from(&words.0).map_err(|error| {
        let hint = misplaced(words).map(|word| format!("; {word} goes before --args")).unwrap_or_default();
        usage_of(hook, &error, &hint)
    })?;
    let arguments = run_arguments(hook, &matches)?;
    if arguments.tasks.is_empty() {
        return Err(Error::Usage(format!("{}: no process is given; add --pid PID", hook.name)));
    }
    Ok(arguments)
}

/// A usage error in the arguments of a hook, with what may help.
fn usage_of(hook: &HookInfo, error: &clap::Error, hint: &str) -> Error {
    match usage(error) {
        Error::Usage(message) => Error::Usage(format!("{}: {message}{hint}", hook.name)),
        other => other,
    }
}

/// An option of the manager among the arguments of the hook.
fn misplaced(words: &HookArguments) -> Option<&str> {
    let is_of_manager =
        |word: &&String| matches!(word.as_str(), "--follow" | "--plugins" | "--allow-untrusted" | "-v");
    words.0.iter().find(is_of_manager).map(String::as_str)
}

fn run_arguments(hook: &HookInfo, matches: &ArgMatches) -> Result<RunArguments> {
    selection::check(hook, matches)?;
    Ok(RunArguments {
        tasks: GivenTasks::of(matches),
        time: matches.get_one(every_hook::TIME).copied(),
        format: format(hook, matches),
        view: view::view(hook, matches)?,
        buffer_size: number(matches, every_hook::BUFFER_SIZE),
        spool_size: number(matches, every_hook::SPOOL_SIZE).unwrap_or_default() << 20,
        drain: matches.get_one(every_hook::DRAIN).copied().filter(|_| {
            // Ignores the default.
            matches.value_source(every_hook::DRAIN) == Some(ValueSource::CommandLine)
        }),
        own: own::arguments(hook, matches),
    })
}

/// The format that was given, or else the first that the hook declares.
fn format(hook: &HookInfo, matches: &ArgMatches) -> Format {
    let given = matches.get_one::<String>(every_hook::FORMAT);
    let is_given = |format: &&Format| given.is_some_and(|name| name == format.name());
    hook.formats.iter().find(is_given).or(hook.formats.first()).copied().unwrap_or_default()
}

fn number(matches: &ArgMatches, name: &str) -> Option<u64> {
    matches.get_one::<i64>(name).map(|number| number.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use clap::Arg;
    use trace_hook_api::{Param, Selection, Unit};

    use super::*;

    fn hook() -> HookInfo {
        HookInfo::new("h", "a hook")
            .selects([Selection::Exact, Selection::Parents])
            .formats([Format::Text, Format::Json])
            .param(Param::text("syscall", "NAME", "these").short('s').comma_separated())
            .param(Param::integer("depth", "N", "frames").range(1, 127).default("32"))
            .param(Param::text("order", "ORDER", "which first").choices(["time", "name"]))
            .param(Param::integer("level", "N", "how much").choices(["-1", "1", "2"]))
            .param(
                Param::duration("over", "TIME", "longer than this", Unit::Microseconds)
                    .range(0, 3_600_000_000),
            )
            .param(
                Param::duration("interval", "TIME", "how often", Unit::Milliseconds)
                    .range(1, 86_400_000)
                    .default("1000"),
            )
            .param(Param::flag("exit", "returns too"))
    }

    fn words(words: &str) -> HookArguments {
        HookArguments(words.split_whitespace().map(str::to_owned).collect())
    }

    fn parsed(words: &str) -> Result<RunArguments> {
        parse(&hook(), &self::words(words))
    }

    fn complaint(words: &str) -> String {
        parsed(words).unwrap_err().to_string()
    }

    #[test]
    fn command_is_well_formed() {
        command(&hook()).debug_assert();
    }

    #[test]
    fn given_values_are_passed_on() {
        let run = parsed(
            "--pid 1 2 -s openat read -p 3 2 -s close --exit -t 500 --exact --order name --format json",
        )
        .unwrap();
        assert_eq!(run.tasks.pids, [1, 2, 3]);
        assert!(run.tasks.exact);
        assert_eq!(run.time, Some(Duration::from_millis(500)));
        assert_eq!(run.drain, None);
        assert_eq!(run.own.texts("syscall").unwrap(), ["openat", "read", "close"]);
        assert_eq!(run.own.integer("depth"), Ok(Some(32)));
        assert_eq!(run.own.text("order"), Ok(Some("name")));
        assert_eq!(run.format, Format::Json);
        assert_eq!(parsed("--pid 1").unwrap().format, Format::Text);
        assert_eq!(run.own.flag("exit"), Ok(true));
        assert_eq!(parsed("--pid 1").unwrap().own.flag("exit"), Ok(false));
    }

    #[test]
    fn wrong_process_ids_are_quoted() {
        for pid in ["abc", "0", "-1", "99999999999", "1.5", "+"] {
            let message = complaint(&format!("--pid {pid}"));
            assert!(
                message.contains(&format!("'{pid}'")) && message.contains("a process id is"),
                "{message}"
            );
        }
        assert_eq!(complaint(""), "h: no process is given; add --pid PID");
        assert!(complaint("--pid").contains("a value is required"));
    }

    #[test]
    fn options_of_the_manager_are_told_from_arguments() {
        assert!(complaint("--pid 1 --follow").ends_with("; --follow goes before --args"));
        assert!(!complaint("--pid 1 --colour").contains("goes before"));
    }

    #[test]
    fn wrong_values_are_quoted() {
        assert!(complaint("--pid 1 --depth 128").contains("from 1 to 127"));
        assert_eq!(parsed("--pid 1 --level -1").unwrap().own.integer("level"), Ok(Some(-1)));
        assert!(complaint("--pid 1 --level 3").contains("possible values: -1, 1, 2"));
        assert!(complaint("--pid 1 --order size").contains("possible values: time, name"));
        assert!(complaint("--pid 1 --colour").contains("unexpected argument '--colour'"));
        assert!(complaint("--pid 1 --time 0").contains("--time"));
    }

    #[test]
    fn undeclared_selections_are_usage_errors() {
        let hook = |selections: &[Selection]| HookInfo::new("trace_x", "a hook").selects(selections);
        let complaint = |hook: &HookInfo, given: &str| match parse(hook, &words(given)) {
            Err(Error::Usage(message)) => message,
            other => panic!("no usage error: {other:?}"),
        };
        let neither = hook(&[]);
        assert_eq!(complaint(&neither, "--parent 1"), "trace_x cannot select by parent; omit --parent");
        assert_eq!(
            complaint(&neither, "--pid 1 --exact"),
            "trace_x cannot select exact processes; omit --exact"
        );
        assert!(parse(&neither, &words("--pid 1")).is_ok());
        let help = |hook: &HookInfo| listing(hook).common;
        assert!(!help(&neither).contains("--parent") && !help(&neither).contains("--exact"));
        let both = hook(&[Selection::Exact, Selection::Parents]);
        assert!(parse(&both, &words("--pid 1 --parent 2 --exact")).is_ok());
        assert!(help(&both).contains("--parent") && help(&both).contains("--exact"));
        assert!(complaint(&hook(&[Selection::Exact]), "--exact --parent 1").contains("by parent"));
    }

    #[test]
    fn json_is_offered_only_by_hooks_that_declare_it() {
        let help = |hook: &HookInfo| listing(hook).common;
        assert!(help(&self::hook()).contains("--format FORMAT"));
        let hook = HookInfo::new("plain", "a hook");
        assert!(!help(&hook).contains("json"));
        assert!(parse(&hook, &words("--pid 1 --format text")).is_ok());
        let error = parse(&hook, &words("--pid 1 --format json")).unwrap_err().to_string();
        assert!(error.contains("invalid value 'json' for '--format <FORMAT>'"), "{error}");
        assert!(!help(&hook).contains("--format"));
    }

    #[test]
    fn help_shows_requirements_ranges_and_defaults() {
        let number = |name| Param::integer(name, "N", "a number");
        let hook = HookInfo::new("h", "a hook")
            .param(Param::text("word", "WORD", "a word").required())
            .param(number("depth").range(1, 127).default("32"))
            .param(number("size").range(0, i64::MAX))
            .param(number("any"))
            .param(number("step").range(1, 3).choices(["1", "3"]))
            .param(
                Param::duration("wait", "TIME", "a time", Unit::Milliseconds)
                    .range(1, 86_400_000)
                    .default("1000"),
            )
            .param(Param::duration("free", "TIME", "a time", Unit::Seconds));
        let help = listing(&hook).own;
        for line in [
            "--word WORD  a word [required]\n",
            "--depth N    a number [1 to 127] [default: 32]\n",
            "--size N     a number [0 or more]\n",
            "--any N      a number\n",
            "--step N     a number [1, 3]\n",
            "--wait TIME  a time [1ms to 24h; in ms without a unit] [default: 1s]\n",
            "--free TIME  a time [in s without a unit]\n",
        ] {
            assert!(help.contains(line), "no {line:?} in: {help}");
        }
    }

    #[test]
    fn lists_and_short_forms_are_marked() {
        let own = listing(&hook()).own;
        assert!(own.contains("  -s, --syscall NAME...  these\n"), "{own}");
        assert!(own.contains("      --exit             returns too\n"), "{own}");
        assert!(listing(&hook()).common.contains("  -p, --pid PID...       trace"), "{own}");
    }

    #[test]
    fn durations_take_units_and_bare_numbers_keep_theirs() {
        let run = |words: &str| parsed(&format!("--pid 1 {words}")).unwrap();
        assert_eq!(run("--time 2s").time, Some(Duration::from_secs(2)));
        assert_eq!(run("-t 1.5s").time, Some(Duration::from_millis(1500)));
        assert_eq!(run("--drain 500ms").drain, Some(Duration::from_millis(500)));
        assert_eq!(run("--drain 3").drain, Some(Duration::from_secs(3)));
        assert_eq!(run("--drain 0").drain, Some(Duration::ZERO));
        assert_eq!(run("").own.duration("over"), Ok(None));
        assert_eq!(run("").own.duration("interval"), Ok(Some(Duration::from_secs(1))));
        assert_eq!(run("--over 20").own.duration("over"), Ok(Some(Duration::from_micros(20))));
        assert_eq!(run("--over 3ms --interval 2m").own.duration("over"), Ok(Some(Duration::from_millis(3))));
        for (wrong, problem) in [
            ("--over 2h", "it takes a duration from 0s to 1h"),
            ("--over 5parsecs", "unknown unit 'parsecs'; the units are ns, us, ms, s, m and h"),
            ("--over -5", "a duration cannot be negative"),
            ("--over 99999999999999999999", "the duration is too long"),
            ("--interval 10us", "it takes a duration from 1ms to 24h"),
            ("--interval soon", "without a unit it is in milliseconds"),
            ("--time 0", "it takes a duration from 1ms to 1200h"),
            ("--time 1.0000000001s", "not a whole number of nanoseconds"),
            ("--drain 25h", "it takes a duration from 0s to 24h"),
        ] {
            let message = complaint(&format!("--pid 1 {wrong}"));
            assert!(message.contains(problem), "{wrong}: {message}");
            assert!(message.contains(wrong.split(' ').nth(1).unwrap()), "{message}");
        }
    }

    #[test]
    fn lists_are_split_at_commas_where_declared() {
        let run = parsed("--pid 1,2 3 --parent 4,5 -s open,close read").unwrap();
        assert_eq!((run.tasks.pids, run.tasks.parents), (vec![1, 2, 3], vec![4, 5]));
        assert_eq!(run.own.texts("syscall").unwrap(), ["open", "close", "read"]);
        assert!(complaint("--pid 1,,2").contains("a process id is"));
        assert!(complaint("--pid 1 -s open,,close").contains("invalid value '' for '--syscall <NAME>...'"));
        let hook = HookInfo::new("h", "").param(Param::text("path", "GLOB", "").repeated());
        let run = parse(&hook, &words("--pid 1 --path a,b c")).unwrap();
        assert_eq!(run.own.texts("path").unwrap(), ["a,b", "c"]);
    }

    /// An option that the host could get in a later version.
    const LATER: CommonOption = CommonOption {
        name: "interval",
        short: Some('i'),
        is_reserved: false,
        help: "from a later version",
        takes: |arg: Arg| arg.value_name("LATER"),
    };

    fn with_later_option() -> Vec<CommonOption> {
        every_hook::OPTIONS.into_iter().chain([LATER]).collect()
    }

    #[test]
    fn later_option_gives_way_to_a_hooks_own_parameter() {
        let options = with_later_option();
        assert!(!every_hook::is_reserved(&options, "interval", Some('i')));
        let interval = |unit| Param::duration("interval", "TIME", "the hook's own", unit).short('i');
        // As trace_counters and trace_latency have it, and as a hook may have one of the two.
        let counters =
            HookInfo::new("trace_counters", "").param(interval(Unit::Milliseconds).default("1000"));
        let latency = HookInfo::new("trace_latency", "").param(interval(Unit::Seconds));
        let long_only =
            HookInfo::new("long", "").param(Param::duration("interval", "TIME", "", Unit::Seconds));
        for (hook, given, expected) in [
            (&counters, "-i 7", Duration::from_millis(7)),
            (&latency, "--interval 7", Duration::from_secs(7)),
            (&long_only, "--interval 7", Duration::from_secs(7)),
        ] {
            command_with(&options, hook).debug_assert();
            let run = parse_with(&options, hook, &words(&format!("--pid 1 {given}"))).unwrap();
            assert_eq!(run.own.duration("interval"), Ok(Some(expected)), "{}", hook.name);
            assert!(!command_with(&options, hook).render_help().to_string().contains("from a later version"));
        }
    }

    #[test]
    fn later_option_keeps_its_name_where_only_its_short_form_is_taken() {
        let options = with_later_option();
        let hook = HookInfo::new("trace_x", "").param(Param::flag("inode", "the hook's own").short('i'));
        command_with(&options, &hook).debug_assert();
        let run = parse_with(&options, &hook, &words("--pid 1 -i --interval 5")).unwrap();
        assert_eq!(run.own.flag("inode"), Ok(true));
        let without = HookInfo::new("trace_y", "");
        assert!(parse_with(&options, &without, &words("--pid 1 -i 5")).is_ok());
        assert!(parse(&without, &words("--pid 1 -i 5")).is_err());
    }
}

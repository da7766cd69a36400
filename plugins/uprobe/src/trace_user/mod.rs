//! `trace_user`: calls of functions of the traced programs themselves.

mod binary;
mod calls;
mod choice;
mod convention;
mod doubles;
mod files;
mod instruction;
mod maps;
mod open_calls;
mod place;
mod plan;
mod prototype;
mod quoted;
mod search;
mod value;

use trace_hook_api::{
    Environment, Format, Hook, HookError, HookInfo, Param, Request, Result, Selection, Session,
};
use trace_session::task_selection;
use tracefs::{Instance, UserProbe};
use tracefs_session::{TracefsSession, usable_tracefs};

use calls::Calls;
use choice::Choice;
use doubles::without_doubles;
use files::Files;
use place::Place;
use plan::{Event, Plan};
use prototype::Prototype;
use search::{MOST_PLACES, Search};

/// The hook.
pub struct TraceUser;

/// In characters. No name that a person wrote is longer; to decode a made-up one could cost much time.
const LONGEST_NAME: usize = 4096;

/// With more, a session would take longer to start and to stop than anybody expects.
const DEFAULT_LIMIT: &str = "1000";
const HIGHEST_LIMIT: i64 = MOST_PLACES as i64;

impl Hook for TraceUser {
    fn info(&self) -> HookInfo {
        HookInfo::new(
            "trace_user",
            "Calls of functions of the traced programs and their libraries, a line each",
        )
        .formats([Format::Text, Format::Json])
        .selects([Selection::Exact, Selection::Parents])
        .param(
            Param::text(
                "function",
                "[BINARY:]FUNCTION",
                "trace these functions; both names may have * and ?, and BINARY is a file name or a path",
            )
            .short('f')
            .repeated()
            .required(),
        )
        .param(Param::flag("return", "a line for each return as well, with result and duration"))
        .param(
            Param::text(
                "args",
                "SPEC",
                "show these arguments, as in 'open(path: string, flags: x32) -> i32'",
            )
            .repeated(),
        )
        .param(
            Param::integer("limit", "N", "trace so many functions at most")
                .range(1, HIGHEST_LIMIT)
                .default(DEFAULT_LIMIT),
        )
        .details(DETAILS)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        match usable_tracefs(environment)? {
            Some(tracefs) if !tracefs.has_user_probes() => {
                Err(HookError::new("the kernel has no user probes (CONFIG_UPROBE_EVENTS)"))
            }
            _ => files::check(environment),
        }
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let texts = |name: &str| request.arguments.texts(name);
        let choices =
            texts("function")?.iter().map(|text| Choice::parse(text)).collect::<Result<Vec<_>>>()?;
        let prototypes =
            texts("args")?.iter().map(|text| Prototype::parse(text)).collect::<Result<Vec<_>>>()?;
        self.probe(&request.environment)?;
        // Held until the kernel has the probes: it reaches the files by our descriptors.
        let places = places(request, &choices)?;
        let with_returns = request.arguments.flag("return")?;
        let Plan { functions, events, probes } = Plan::new(&places, &prototypes, with_returns)?;
        let session = TracefsSession::start(
            request,
            |instance| enable(instance, &without_doubles(probes, &places, instance)?, &events),
            |stream| Ok(Box::new(Calls::new(functions, &events, &request.session, stream)?)),
        )?;
        Ok(Box::new(session))
    }
}

/// What a person has to know.
const DETAILS: &str = "\
Where functions are looked for: without BINARY in the traced programs, and if they have none of the name, in the libraries \
they have loaded. BINARY is the name of a file that they have loaded (libc.so.6, 'libssl*'), or a path as they see it; by \
its whole path also a library or program that they load or exec only later. Of a program that a traced process execs \
during the session nothing is traced otherwise. FUNCTION is the name in the source or that of the linker (Rust and C++ have \
both): ns::K::get means all overloads of C++, 'ns::K::get(int) const' one, and ns::max<int> or 'ns::max<*>' a template. It must be in the file's symbol table, dynamic symbol table or MiniDebugInfo. Inlined functions cannot be traced.
--args says what to show of a call, in the order of the function's parameters: _ passes one over, and *TYPE is what a \
pointer leads to. The first of a C++ method is `this`. Leave floating-point parameters out: they are not counted, and \
cannot be shown. Types: u8 u16 u32 u64, i8 i16 i32 i64, x8 x16 x32 x64 (in hex), int uint long ulong size, ptr, bool, and \
string (up to its NUL; Go and Rust have other strings). A string that is not there, or is longer than 4095 bytes, is shown \
as (fault); so are the strings after one that is too long, for which it leaves no room, and what a null pointer leads to. \
A number that another bad pointer leads to is shown as 0: the kernel does not tell that it could not read it. Calls whose strings come to more than 4000 bytes in all are not recorded: the kernel drops them, and does not \
count them as lost. -> TYPE is that of the result, which is shown as x64 otherwise. NAME: TYPE = FETCH takes what the kernel \
fetches (Documentation/trace/uprobetracer.rst), as in 'send(length: u32 = +8(%di))'; for a string that is the pointer to \
it, as in 'puts(text: string = %di)', or $comm. A number that FETCH cannot read is shown as 0, or as anything if FETCH reads memory \
more than once. Without FUNCTION it is for all functions. In a Go program arguments are counted for \
functions with a package in their names (main.f), as Go passes them since 1.17. Those of others have to be fetched: of C \
functions, and of assembly (without a package, or NAME.abi0), which mostly has them on the stack, from $stack1 on. Assembly that \
only assembly calls may have a package and be taken for Go's: what is shown of its arguments is of no meaning.
--return replaces return addresses while a function runs: do not use it where exceptions or panics pass through a traced \
function, for they end the program there. For Go programs it is refused. Calls nested more than 64 deep have no return \
line. A Go function that has to have its stack grown begins twice, and has two lines.
Every process that runs the file takes some microseconds longer for each call, traced or not. Nothing is recorded where a \
debugger has a breakpoint of its own at a function, or where a running file of an overlay file system was changed after \
it had been started. Example:
  --args \"--pid 4711 -f open libssl*:SSL_write --return --args 'open(path: string, flags: x32) -> i32'\"
Lines, with what --args and --return add:
  call: function=\"open\" binary=\"/usr/lib/libc.so.6\" path=\"/etc/hosts\" flags=0x80000
  return: function=\"open\" binary=\"/usr/lib/libc.so.6\" result=3 duration=9.120us
In JSON: event (call or return), function, binary, arguments (an object by the names in --args, or arg1, arg2 ...), \
result and duration_ns.";

fn places(request: &Request, choices: &[Choice]) -> Result<Vec<Place>> {
    let (procfs, targets) = (&request.environment.procfs, task_selection(request));
    let mut processes: Vec<_> = targets.processes(procfs)?.into_keys().collect();
    processes.sort_unstable();
    if processes.is_empty() {
        return Err(targets.none_left().into());
    }
    let files = Files::of(processes, procfs)?;
    let mut search = Search::default();
    choices.iter().try_for_each(|choice| search.add(choice, &files))?;
    let limit = request.arguments.integer("limit")?.unwrap_or(HIGHEST_LIMIT);
    search.finish(usize::try_from(limit).unwrap_or(usize::MAX))
}

fn enable(instance: &Instance, probes: &[UserProbe], events: &[Event]) -> Result<()> {
    instance.define_user_probes(probes).map_err(refusal)?;
    let enable = |event: &Event| instance.enable_event(instance.name(), &event.name);
    events.iter().try_for_each(enable).map_err(refusal)
}

/// The kernel's words, with its picture of the place that it stumbled at below them.
fn refusal(error: tracefs::Error) -> HookError {
    /// Not in errno(3): ENOTSUPP in the kernel's include/linux/errno.h.
    const NOT_SUPPORTED: i32 = 524;
    match error {
        tracefs::Error::BadProbe { reason } => {
            let (headline, picture) = reason.split_once('\n').unwrap_or((&reason, ""));
            HookError::usage(format!("the kernel refuses what is to be recorded: {headline}"))
                .excerpt(picture)
        }
        tracefs::Error::Io { source, .. } if source.raw_os_error() == Some(NOT_SUPPORTED) => HookError::new(
            "the kernel can put no probe at the first instruction of one of the functions; name fewer to find which",
        ),
        error => error.into(),
    }
}

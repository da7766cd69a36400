//! `trace_user`: calls of functions of the traced programs themselves.

mod binary;
mod calling_convention;
mod duplicate_probes;
mod function_name;
mod function_selector;
mod instruction;
mod mapped_files;
mod pending_calls;
mod probe_set;
mod probe_target;
mod process_files;
mod prototype;
mod quoted;
mod renderer;
mod search;
mod value;

use trace_hook_api::{
    Environment, Format, Hook, HookError, HookInfo, Param, Request, Result, Selection, Session,
};
use trace_session::task_selection;
use tracefs::{Instance, UserProbe};
use tracefs_session::{TracefsSession, usable_tracefs};

use duplicate_probes::without_duplicates;
use function_selector::FunctionSelector;
use probe_set::{Event, ProbeSet};
use probe_target::ProbeTarget;
use process_files::ProcessFiles;
use prototype::Prototype;
use renderer::CallRenderer;
use search::{MAX_TARGETS, Search};

/// The hook.
pub struct TraceUser;

/// With more functions, a session takes long to start and to stop.
const DEFAULT_LIMIT: &str = "1000";
const MAX_LIMIT: i64 = MAX_TARGETS as i64;

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
                .range(1, MAX_LIMIT)
                .default(DEFAULT_LIMIT),
        )
        .details(DETAILS)
    }

    fn probe(&self, environment: &Environment) -> Result<()> {
        match usable_tracefs(environment)? {
            Some(tracefs) if !tracefs.has_user_probes() => {
                Err(HookError::new("the kernel has no user probes (CONFIG_UPROBE_EVENTS)"))
            }
            _ => process_files::check(environment),
        }
    }

    fn start(&self, request: &Request) -> Result<Box<dyn Session>> {
        let texts = |name: &str| request.arguments.texts(name);
        let selectors = texts("function")?
            .iter()
            .map(|text| FunctionSelector::parse(text))
            .collect::<Result<Vec<_>>>()?;
        let prototypes =
            texts("args")?.iter().map(|text| Prototype::parse(text)).collect::<Result<Vec<_>>>()?;
        self.probe(&request.environment)?;
        // Kept until the probes are defined: the kernel opens the files by our descriptors.
        let targets = find_functions(request, &selectors)?;
        let with_returns = request.arguments.flag("return")?;
        let ProbeSet { functions, events, probes } = ProbeSet::new(&targets, &prototypes, with_returns)?;
        let session = TracefsSession::start(
            request,
            |instance| enable(instance, &without_duplicates(probes, &targets, instance)?, &events),
            |stream| Ok(Box::new(CallRenderer::new(functions, &events, &request.session, stream)?)),
        )?;
        Ok(Box::new(session))
    }
}

/// The details of `--describe`.
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

fn find_functions(request: &Request, selectors: &[FunctionSelector]) -> Result<Vec<ProbeTarget>> {
    let (procfs, selection) = (&request.environment.procfs, task_selection(request));
    let mut processes: Vec<_> = selection.processes(procfs)?.into_keys().collect();
    processes.sort_unstable();
    if processes.is_empty() {
        return Err(selection.none_left().into());
    }
    let files = ProcessFiles::of(processes, procfs)?;
    let mut search = Search::default();
    selectors.iter().try_for_each(|selector| search.add(selector, &files))?;
    let limit = request.arguments.integer("limit")?.unwrap_or(MAX_LIMIT);
    search.finish(usize::try_from(limit).unwrap_or(usize::MAX))
}

fn enable(instance: &Instance, probes: &[UserProbe], events: &[Event]) -> Result<()> {
    instance.define_user_probes(probes).map_err(refusal)?;
    let enable = |event: &Event| instance.enable_event(instance.name(), &event.name);
    events.iter().try_for_each(enable).map_err(refusal)
}

/// The kernel's message, and below it the definition with a caret at the error.
fn refusal(error: tracefs::Error) -> HookError {
    /// `ENOTSUPP` in the kernel's include/linux/errno.h; not in errno(3).
    const NOT_SUPPORTED: i32 = 524;
    match error {
        tracefs::Error::BadProbe { reason } => {
            let (headline, excerpt) = reason.split_once('\n').unwrap_or((&reason, ""));
            HookError::usage(format!("the kernel refuses a probe: {headline}")).excerpt(excerpt)
        }
        tracefs::Error::Io { source, .. } if source.raw_os_error() == Some(NOT_SUPPORTED) => HookError::new(
            "the kernel cannot put a probe at the first instruction of one of the functions; name fewer functions to find which one",
        ),
        error => error.into(),
    }
}

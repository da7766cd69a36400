//! `trace_user`: calls of functions of the traced programs themselves.

mod binary;
mod calling_convention;
mod candidate;
mod command_files;
mod cpu_time;
mod debug_file;
mod duplicate_probes;
mod enabling;
mod file_search;
mod found_functions;
mod function_limit;
mod function_name;
mod function_selector;
mod instruction;
mod later_programs;
mod left_out;
mod loader_cache;
mod mapped_files;
mod pace;
mod pending_calls;
mod probe_set;
mod probe_target;
mod process_files;
mod prototype;
mod quoted;
mod renderer;
mod search;
mod value;

use std::path::Path;
use std::sync::Arc;

use trace_hook_api::{
    Environment, EventInfo, FieldInfo, Format, Hook, HookError, HookInfo, Param, Request, Result, Selection,
    Session, log,
};
use trace_session::selected_processes;
use tracefs_session::{JOINING, StopFlag, TracefsSession, usable_tracefs};

use command_files::CommandFiles;
use found_functions::FoundFunctions;
use function_selector::FunctionSelector;
use later_programs::{Choice, LaterPrograms};
use pace::Pace;
use probe_set::ProbeSet;
use probe_target::ProbeTarget;
use process_files::{ProcessFiles, blocking_calls};
use prototype::Prototype;
use quoted::quoted;
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
            "Calls of functions of the traced programs and their libraries, one line per call",
        )
        .formats([Format::Text, Format::Json])
        .honours_view()
        .selects([Selection::Exact, Selection::Parents, Selection::Cgroups, Selection::All])
        .param(
            Param::text(
                "function",
                "[BINARY:]FUNCTION",
                "trace these functions; BINARY is a file name or a path; * and ? are wildcards in both",
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
                "record these arguments and the result, as in 'open(path: string, flags: x32) -> i32'",
            )
            .repeated(),
        )
        .param(
            Param::integer("limit", "N", "trace at most this many functions")
                .range(1, MAX_LIMIT)
                .default(DEFAULT_LIMIT),
        )
        .event(
            EventInfo::new("call", "a function was called").fields(function_fields()).field(
                FieldInfo::group(
                    "arguments",
                    "the arguments that --args lists",
                    [FieldInfo::any(
                        "*",
                        "the argument of this name in --args, or of its number: arg1, arg2 ...",
                    )],
                )
                .optional(),
            ),
        )
        .event(
            EventInfo::new("return", "a function returned; only with --return")
                .fields(function_fields())
                .field(FieldInfo::any("result", "the result, of the type in --args"))
                .field(FieldInfo::duration("duration", "time since the call, if it was recorded").optional()),
        )
        .details(format!("{DETAILS}\n\n{JOINING}"))
        .example("-f malloc free", "every call of two functions")
        .example("-f 'libssl*:SSL_write' --return", "with result and duration")
        .example("-f open --args 'open(path: string, flags: x32) -> i32'", "with these arguments")
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
            .map(|text| FunctionSelector::parse(text).map(Arc::new))
            .collect::<Result<Vec<_>>>()?;
        let prototypes =
            texts("args")?.iter().map(|text| Prototype::parse(text)).collect::<Result<Vec<_>>>()?;
        self.probe(&request.environment)?;
        let limit = limit(request)?;
        let (files, targets) = match &request.command {
            Some(program) => {
                let files = files_of_processes(request, Pace::Thorough)?;
                let targets = functions_of_command(request, &files, &selectors, program, limit)?;
                (files, targets)
            }
            None => functions_of_processes(request, &selectors, limit)?,
        };
        // Only these lines have the fields.
        let needs_returns = ["result", "duration"].iter().any(|field| request.view.mentions(field));
        let with_returns = request.arguments.flag("return")? || needs_returns;
        let (set, refused) = ProbeSet::new(&targets, &prototypes, with_returns)?;
        let choice =
            Choice { environment: request.environment.clone(), selectors, prototypes, with_returns, limit };
        let (found, mut left_out) = (FoundFunctions::default(), files.left_out());
        left_out.extend(&refused);
        let session = TracefsSession::start_with_observer(
            request,
            |instance| {
                let mut later = LaterPrograms::new(choice, &files, found.clone());
                left_out.extend(&later.add_probes(instance, &targets, set)?);
                later.are_reported(&left_out);
                Ok(Box::new(later))
            },
            |_| Ok(Box::new(CallRenderer::new(found.clone(), with_returns, &request.session))),
        )?;
        if !left_out.is_empty() {
            log::warn!("left out: {left_out}");
        }
        Ok(Box::new(session))
    }
}

/// The fields of all events.
fn function_fields() -> [FieldInfo; 2] {
    [
        FieldInfo::text("function", "name of the function in the source"),
        FieldInfo::text("binary", "path of the program or library, as the traced process sees it"),
    ]
}

/// The details of `--describe`.
const DETAILS: &str = "\
Without BINARY, functions are searched for in the traced programs and, if these have none of that name, in the \
libraries that they have loaded. BINARY is the name of a file that they have loaded (libc.so.6, 'libssl*'), or a path as \
they see it.
A program that a traced process executes during the session, or that joins a selected cgroup, is searched in the same way, \
with the libraries that it has loaded a tenth of a second later. Until it has been searched, which takes some 0.1 s, none of its calls \
are traced, in a process that joins a cgroup as well; a program that has been searched once is traced from its start. A library that is loaded later than that is traced only if BINARY is its whole \
path, and then from its first call, as is a program with BINARY as its whole path. So are the program of a command that is run, and \
the libraries that it needs to start (as ldd lists them). A file \
that takes long to open or to search, as on a network file system that does not answer, is searched while the session records, if there \
are functions in others.
If more functions match than --limit, the session fails if they are in the files of one process. Otherwise some files are left out, those \
with many functions first. A program that is executed later may have half of the functions that are left of the limit.
FUNCTION is the name in the source or in the symbol table; each name that is shown can be given. For C++, ns::K::get selects all \
overloads, 'ns::K::get(int) const' one of them, and ns::max all instances of a template, of which one is selected with its \
arguments. For Rust, app::T::get is the method of the type app::T under each mangling. Of the functions of a file, those count that match closest: \
first by the name that is shown or the symbol, then by a shorter \
name, then by wildcards. The last single colon outside brackets ends BINARY. The function must be in the symbol \
table, the dynamic symbol table or the MiniDebugInfo of the file, or in its debug file (.gnu_debuglink, or /usr/lib/debug by build id). Inlined functions cannot be traced. A warning names files that \
cannot be searched, such as those on FUSE file systems, and functions at which the kernel refuses a probe.
--args lists the arguments to record, in the order of the function's parameters: _ skips one, and *TYPE is the value that \
a pointer leads to. The first argument of a C++ method is `this`. Omit floating-point parameters: they are not counted, \
and cannot be recorded. Types: u8 u16 u32 u64, i8 i16 i32 i64, x8 x16 x32 x64 (hexadecimal), int uint long ulong size, \
ptr, bool, and string (up to a NUL; strings of Go and Rust are different). -> TYPE is the type of the result, by default \
x64. Without FUNCTION, SPEC applies to all functions.
NAME: TYPE = FETCH uses a fetch argument of the kernel (Documentation/trace/uprobetracer.rst), as in \
'send(length: u32 = +8(%di))'. For a string it is the pointer to it, as in 'puts(text: string = %di)', or $comm.
What cannot be read: a string that is not in memory or is longer than 4095 bytes is shown as (fault), and so are the \
strings after one that is too long, because it uses their room, and what a null pointer leads to. A number behind \
another invalid pointer is shown as 0: the kernel does not report that it could not read it. A number that FETCH cannot \
read is shown as 0, or as any value if FETCH reads memory more than once. A call whose strings take more than 4000 bytes \
together is not recorded: the kernel drops it, and does not count it as lost.
In a Go program, arguments are counted as Go passes them since 1.17 for functions with a package in their name (main.f). \
Arguments of other functions must be fetched: of C functions, and of assembly (without a package, or NAME.abi0), which \
mostly has them on the stack, from $stack1 on. Assembly that only assembly calls can have a package as well: what is shown \
of its arguments is meaningless.
--return replaces return addresses while a function runs. Do not use it where exceptions or panics pass through a traced \
function: they would end the program. For Go programs it is refused. Calls nested more than 64 deep have no return line. \
A Go function whose stack has to grow is entered twice, and has two lines.
Each call takes some microseconds longer in every process that runs the file, traced or not. Nothing is recorded where a \
debugger has a breakpoint at the function, or where a running file of an overlay file system was changed after the start \
of the program.
Lines, with what --args and --return add:
  call: function=\"open\" binary=\"/usr/lib/libc.so.6\" path=\"/etc/hosts\" flags=0x80000
  return: function=\"open\" binary=\"/usr/lib/libc.so.6\" result=3 duration=9.120us
In JSON: event (call or return), function, binary, arguments (an object by the names in --args, or arg1, arg2 ...), \
result and duration_ns.";

fn limit(request: &Request) -> Result<usize> {
    let limit = request.arguments.integer("limit")?.unwrap_or(MAX_LIMIT);
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

fn files_of_processes(request: &Request, pace: Pace) -> Result<ProcessFiles> {
    let selection = selected_processes(request)?;
    let mut processes: Vec<_> = selection.processes(&request.environment.procfs)?.into_keys().collect();
    processes.sort_unstable();
    if processes.is_empty() && !selection.may_grow() {
        return Err(selection.none_left().into());
    }
    let calls = blocking_calls(&request.environment, pace);
    ProcessFiles::of(processes, &request.environment, calls, pace, StopFlag::default())
}

/// The functions of a program that is about to be executed, of the libraries that it loads when it starts, and of files whose whole
/// path is given. Other libraries are searched once the program has loaded them.
fn functions_of_command(
    request: &Request,
    files: &ProcessFiles,
    selectors: &[Arc<FunctionSelector>],
    program: &Path,
    limit: usize,
) -> Result<Vec<ProbeTarget>> {
    let mut search = Search::default();
    let procfs = &request.environment.procfs;
    let command =
        files.processes().first().map(|process| CommandFiles::find(program, *process, files, procfs));
    for selector in selectors {
        let is_path = selector.binary.as_ref().is_some_and(|binary| binary.path().is_some());
        if is_path {
            search.add(selector, files)?;
        } else if !command.as_ref().is_some_and(|command| search.add_any_of_command(selector, command, files))
        {
            log::warn!(
                "no function of {} and its libraries matches {} so far; libraries that it loads later are searched 0.1 s after \
                 a program was executed: to trace one from its start, give its whole path",
                program.display(),
                quoted(&selector.text)
            );
        }
    }
    search.finish(limit, files)
}

/// The functions of running processes. Files that take long are waited for only if there is no function without them.
fn functions_of_processes(
    request: &Request,
    selectors: &[Arc<FunctionSelector>],
    limit: usize,
) -> Result<(ProcessFiles, Vec<ProbeTarget>)> {
    let at_pace = |pace| -> Result<_> {
        let files = files_of_processes(request, pace)?;
        let found = find_functions(&files, selectors, limit);
        Ok((files, found))
    };
    let (mut files, mut found) = at_pace(Pace::Prompt)?;
    if found.is_err() && !files.postponed().processes.is_empty() {
        (files, found) = at_pace(Pace::Thorough)?;
    }
    Ok((files, found?))
}

fn find_functions(
    files: &ProcessFiles,
    selectors: &[Arc<FunctionSelector>],
    limit: usize,
) -> Result<Vec<ProbeTarget>> {
    if files.are_of_no_process() {
        // They will be searched for when a process joins the selected cgroups.
        return Ok(Vec::new());
    }
    let mut search = Search::default();
    selectors.iter().try_for_each(|selector| search.add(selector, files))?;
    search.finish(limit, files)
}

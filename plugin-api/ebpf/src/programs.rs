//! Programs in the kernel: loaded, attached, detached.

use std::fs;
use std::path::Path;
use std::thread::{self, Builder};

use aya::maps::{Map, MapError};
use aya::programs::{ProgramError, RawTracePoint};
use aya::{Btf, BtfError, Ebpf, EbpfError, EbpfLoader, Endianness};
use landlock::{AccessFs, Ruleset, RulesetAttr, RulesetError};
use nix::libc;
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use trace_hook_api::{Environment, HookError, Request, Result, log};
use trace_session::selected_processes;

use crate::cgroups::SelectedCgroups;
use crate::kernel_types;
use crate::losses::Losses;
use crate::object::{Attachment, Object};
use crate::requirements::{self, types_file};
use crate::traced_processes::TracedProcesses;

/// The programs of `bpf/processes.h`, which every object has.
const PROCESS_PROGRAMS: [Attachment<'_>; 2] = [
    Attachment { program: "exited", tracepoint: "sched_process_exit" },
    Attachment { program: "forked", tracepoint: "sched_process_fork" },
];

/// The program of `bpf/processes.h` that is needed only if cgroups are selected.
const CGROUP_PROGRAM: Attachment<'_> = Attachment { program: "attached", tracepoint: "cgroup_attach_task" };

/// Attached programs. They are detached when this is dropped, and when this process ends.
pub struct Programs {
    ebpf: Option<Ebpf>,
    /// The programs to detach one by one, in this order.
    detached_in_order: Vec<String>,
    /// The processes they trace.
    pub processes: TracedProcesses,
    /// What they recorded and lost.
    pub losses: Losses,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read the kernel's types, {path}: {source}")]
    Types { path: String, source: BtfError },
    #[error("cannot load the eBPF programs: {0}")]
    Load(#[from] EbpfError),
    #[error("the object has no {what} called '{name}'")]
    Missing { what: &'static str, name: String },
    #[error("the kernel refuses the program '{program}' for the tracepoint {tracepoint}: {reason}")]
    Refused { program: String, tracepoint: String, reason: String },
}

impl Programs {
    /// Loads and attaches the programs. When this returns, the request's tasks are traced.
    ///
    /// # Errors
    ///
    /// A requirement is not met, the kernel refuses a program, or no task is left to trace. Nothing stays attached then.
    pub fn start(request: &Request, object: &Object<'_>) -> Result<Self> {
        // Its messages say more than the kernel's errors.
        requirements::check_session(&request.environment)?;
        requirements::check_bpf_reaches_kernel()?;
        let procfs = &request.environment.procfs;
        let selection = selected_processes(request)?;
        let cgroups = SelectedCgroups::of(&selection)?;
        let (mut loader, types) = loader_and_types(&request.environment, object)?;
        allow_locked_memory();
        loader.btf(Some(&types));
        // The library does not support task storage maps, which only the programs use.
        loader
            .allow_unsupported_maps()
            .set_max_entries("processes", TracedProcesses::capacity(procfs, object.is_preallocated));
        loader.set_max_entries("cgroups", cgroups.capacity());
        loader.set_global("hierarchies", cgroups.hierarchies(), true);
        let trace_all = u8::from(selection.is_all());
        loader.set_global("trace_all", &trace_all, true);
        for (name, bytes) in &object.constants {
            loader.set_global(name, *bytes, true);
        }
        for (name, size) in &object.map_sizes {
            loader.set_max_entries(name, *size);
        }
        let mut ebpf = without_warnings(|| loader.load(object.elf)).map_err(Error::Load)?;
        // Borrowed: the programs that use the map are loaded later, and taking it here would free it before.
        cgroups.enter(ebpf.map_mut("cgroups").ok_or_else(|| no_map("cgroups"))?)?;
        let map = take_map(&mut ebpf, "processes")?.try_into()?;
        let mut processes = TracedProcesses::new(map, selection, cgroups, procfs);
        let losses = Losses::new(take_map(&mut ebpf, "losses")?.try_into()?);

        let optional = object.optional.iter().try_for_each(|attachment| attach(&mut ebpf, *attachment));
        if let Err(error) = optional {
            log::info!("{error}");
        }
        let cgroup_program = processes.follows_cgroups().then_some(&CGROUP_PROGRAM);
        let own = PROCESS_PROGRAMS.iter().chain(cgroup_program);
        for attachment in object.first.iter().chain(own).chain(&object.required) {
            attach(&mut ebpf, *attachment)?;
        }
        processes.add()?;
        let detached_in_order = object
            .required
            .iter()
            .chain(&object.first)
            .map(|attachment| attachment.program.to_owned())
            .collect();
        Ok(Self { ebpf: Some(ebpf), detached_in_order, processes, losses })
    }

    /// Takes one of the maps.
    ///
    /// # Errors
    ///
    /// The object has no map of this name and type, or it was taken before.
    pub fn map<M: TryFrom<Map, Error = MapError>>(&mut self, name: &str) -> Result<M> {
        let ebpf = self.ebpf.as_mut().ok_or_else(|| HookError::new("the eBPF programs have ended"))?;
        Ok(take_map(ebpf, name)?.try_into()?)
    }

    /// Detaches the programs. When this returns, none of them runs any more. Maps that were taken stay readable.
    pub fn stop(&mut self) {
        if let Some(mut ebpf) = self.ebpf.take() {
            for program in &self.detached_in_order {
                detach(&mut ebpf, program);
            }
            drop(ebpf);
            wait_for_running_programs();
        }
    }
}

/// Before Linux 5.11, maps count as locked memory of the user, of which root may have as little as 64 KiB.
fn allow_locked_memory() {
    // Where that is refused, so are the maps, unless the limit is not needed.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

/// A loader, and the types of the kernel that the object needs. When the library makes a loader, it reads all types of the kernel,
/// whether it is given others or not, which takes longer than everything else here. So a thread makes it that can read no file,
/// or, where there is no Landlock, at least does it at the same time.
fn loader_and_types(
    environment: &Environment,
    object: &Object<'_>,
) -> Result<(EbpfLoader<'static>, Btf), Error> {
    thread::scope(|scope| {
        let loader = Builder::new().spawn_scoped(scope, || {
            if let Err(error) = forbid_reading() {
                log::debug!("the kernel's types are read twice: {error}");
            }
            EbpfLoader::new()
        });
        let types = types_for(object, &types_file(environment))?;
        // Where there can be no thread, it is made here.
        let loader = loader.ok().and_then(|loader| loader.join().ok()).unwrap_or_default();
        Ok((loader, types))
    })
}

/// From now on, this thread can open no file to read it. Other threads still can.
fn forbid_reading() -> Result<(), RulesetError> {
    Ruleset::default().handle_access(AccessFs::ReadFile)?.create()?.restrict_self()?;
    Ok(())
}

fn types_for(object: &Object<'_>, path: &Path) -> Result<Btf, Error> {
    let failed = |source| Error::Types { path: path.display().to_string(), source };
    let all = fs::read(path).map_err(|error| failed(BtfError::FileError { path: path.to_owned(), error }))?;
    let named = kernel_types::named_in(object.elf, &all);
    Btf::parse(named.as_deref().unwrap_or(&all), Endianness::default()).map_err(failed)
}

/// The library warns of each map that it does not support, even where these are allowed.
fn without_warnings<T>(work: impl FnOnce() -> T) -> T {
    let level = log::max_level();
    log::set_max_level(level.min(log::LevelFilter::Error));
    let result = work();
    log::set_max_level(level);
    result
}

fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or_else(|| no_map(name))
}

fn no_map(name: &str) -> Error {
    Error::Missing { what: "map", name: name.to_owned() }
}

fn attach(ebpf: &mut Ebpf, attachment: Attachment<'_>) -> Result<(), Error> {
    let Attachment { program: name, tracepoint } = attachment;
    let program = ebpf.program_mut(name);
    let program = program.ok_or_else(|| Error::Missing { what: "program", name: name.to_owned() })?;
    let refused = |error: ProgramError| Error::Refused {
        program: name.to_owned(),
        tracepoint: tracepoint.to_owned(),
        reason: reason(&error),
    };
    let program: &mut RawTracePoint = program.try_into().map_err(refused)?;
    program.load().map_err(refused)?;
    program.attach(tracepoint).map_err(refused)?;
    Ok(())
}

fn detach(ebpf: &mut Ebpf, name: &str) {
    let program = ebpf.program_mut(name).and_then(|program| <&mut RawTracePoint>::try_from(program).ok());
    if let Some(Err(error)) = program.map(RawTracePoint::unload) {
        log::debug!("cannot detach the program '{name}': {}", with_sources(&error));
    }
}

/// The reason in one line. The verifier's log has many, and is for the author of the program: it goes to the debug log.
fn reason(error: &ProgramError) -> String {
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return with_sources(error);
    };
    log::debug!("{verifier_log}");
    match io_error.raw_os_error() {
        Some(libc::EPERM) => {
            format!("{io_error}; it needs root, or the capabilities CAP_BPF and CAP_PERFMON")
        }
        _ => io_error.to_string(),
    }
}

/// The library's messages lack the errno, which only their sources have.
fn with_sources(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Waits for programs that were running on other CPUs when they were detached.
///
/// They run with preemption disabled, so they have ended when every CPU has scheduled: that is what membarrier(2) waits for.
fn wait_for_running_programs() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: it takes and returns plain numbers. Where the kernel does not have it, it fails and there is no wait.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
}

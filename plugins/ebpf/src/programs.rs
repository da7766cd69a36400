//! The programs in the kernel: loaded, attached, and gone.

use std::path::Path;

use aya::maps::{Map, MapError};
use aya::programs::{ProgramError, RawTracePoint};
use aya::{Btf, BtfError, Ebpf, EbpfError, EbpfLoader, Endianness};
use nix::libc;
use trace_hook_api::{Environment, HookError, Request, Result, log};
use tracefs_session::targets;

use crate::losses::Losses;
use crate::processes::Processes;
use crate::requirements::{self, types_file};

/// Programs, each a function of its object, and the tracepoints that they are attached to, in this order: who returns
/// from a call that nobody has seen begin is passed over.
const PROGRAMS: [(&str, &str); 4] = [
    ("exited", "sched_process_exit"),
    ("forked", "sched_process_fork"),
    (RETURNED, "sys_exit"),
    ("entered", "sys_enter"),
];
const RETURNED: &str = "returned";

/// Programs that are attached until this is dropped, however this process ends.
pub struct Programs {
    ebpf: Option<Ebpf>,
    pub processes: Processes,
    pub losses: Losses,
}

/// Why there are no programs.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read the kernel's types, {path}: {source}")]
    Types { path: String, source: BtfError },
    #[error("the programs cannot be loaded: {0}")]
    Load(#[from] EbpfError),
    #[error("the object has no {what} called '{name}'")]
    Missing { what: &'static str, name: String },
    #[error("the kernel refuses the program '{program}' for the tracepoint {tracepoint}: {reason}")]
    Refused { program: String, tracepoint: String, reason: String },
}

/// What is made of an object.
#[derive(Default)]
pub struct Setup<'a> {
    /// The ELF file.
    pub object: &'a [u8],
    /// The programs' constants by their names, as bytes.
    pub constants: &'a [(&'a str, &'a [u8])],
    /// For how many entries, or bytes, maps are to have room.
    pub rooms: &'a [(&'a str, u32)],
    /// Programs, each with its tracepoint, that are left out where the kernel does not take them; and so are those that
    /// come after.
    pub optional: &'a [(&'a str, &'a str)],
}

impl Programs {
    /// Loads and attaches programs. The request's tasks are traced when this returns.
    ///
    /// # Errors
    ///
    /// What is missing here, or what the kernel refused. Nothing is left then.
    pub fn start(request: &Request, setup: &Setup<'_>) -> Result<Self> {
        // The kernel says less of what is missing.
        requirements::check(&request.environment)?;
        let procfs = &request.environment.procfs;
        let types = types_elsewhere(&request.environment)?;
        let mut loader = EbpfLoader::new();
        if let Some(types) = &types {
            loader.btf(Some(types));
        }
        // The library has no hands for task storage, which only the programs touch.
        loader.allow_unsupported_maps().set_max_entries("processes", Processes::room(procfs));
        for (name, bytes) in setup.constants {
            loader.set_global(name, *bytes, true);
        }
        for (name, room) in setup.rooms {
            loader.set_max_entries(name, *room);
        }
        let mut ebpf = without_warnings(|| loader.load(setup.object)).map_err(Error::Load)?;
        let map = take_map(&mut ebpf, "processes")?;
        let mut processes = Processes::new(map.try_into()?, procfs);
        let losses = Losses::new(take_map(&mut ebpf, "losses")?.try_into()?);

        let optional = setup
            .optional
            .iter()
            .try_for_each(|(program, tracepoint)| attach(&mut ebpf, program, tracepoint));
        if let Err(error) = optional {
            log::info!("{error}");
        }
        for (program, tracepoint) in PROGRAMS {
            attach(&mut ebpf, program, tracepoint)?;
        }
        processes.follow(&targets(request))?;
        Ok(Self { ebpf: Some(ebpf), processes, losses })
    }

    /// Takes one of the maps.
    ///
    /// # Errors
    ///
    /// There is none of this name and type.
    pub fn map<M: TryFrom<Map, Error = MapError>>(&mut self, name: &str) -> Result<M> {
        let ebpf = self.ebpf.as_mut().ok_or_else(|| HookError::new("the programs are gone"))?;
        Ok(take_map(ebpf, name)?.try_into()?)
    }

    /// Ends the programs: when this returns, none of them runs any more. The maps that were taken stay.
    pub fn stop(&mut self) {
        if let Some(mut ebpf) = self.ebpf.take() {
            // Before the program that sees calls begin: else those that begin in between would seem to be older.
            detach(&mut ebpf, RETURNED);
            drop(ebpf);
            wait_for_running_programs();
        }
    }
}

/// The kernel's types, where they do not lie where the library looks by itself: reading them takes half of a start's time.
fn types_elsewhere(environment: &Environment) -> Result<Option<Btf>, Error> {
    if environment.sysfs == Path::new("/sys") {
        return Ok(None);
    }
    let path = types_file(environment);
    let failed = |source| Error::Types { path: path.display().to_string(), source };
    Btf::parse_file(&path, Endianness::default()).map_err(failed).map(Some)
}

/// The library warns of each map that it has no hands for, though it was told that this is well.
fn without_warnings<T>(work: impl FnOnce() -> T) -> T {
    let level = log::max_level();
    log::set_max_level(level.min(log::LevelFilter::Error));
    let result = work();
    log::set_max_level(level);
    result
}

fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or_else(|| Error::Missing { what: "map", name: name.to_owned() })
}

fn attach(ebpf: &mut Ebpf, name: &str, tracepoint: &str) -> Result<(), Error> {
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

/// In one line. What the kernel's verifier says besides takes many, and is for those who have written the program.
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

/// The library leaves the errno to the source of its errors.
fn with_sources(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A program that has just begun on another CPU runs on after it is detached, for some microseconds.
///
/// It cannot be preempted then, and is over when every CPU has scheduled: that is what membarrier(2) waits for.
fn wait_for_running_programs() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: it takes and returns plain numbers. Where the kernel does not have it, there is no wait.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
}

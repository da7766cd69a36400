//! Tracepoints by name: whether the kernel has them, how they are enabled, and the fields of their records.
//!
//! A hook names its tracepoints once, as constants. Its probe [checks](check) them, its session
//! [enables](Tracepoint::enable) them, and its renderer takes from their [`Layout`] the fields that it reads of each record.

use trace_hook_api::{Environment, HookError, Result};
use tracefs::format::{EventFormat, Field};
use tracefs::{Instance, Tracefs};
use tracefs_session::{EventStream, usable_tracefs};

/// A tracepoint that the kernel may have.
#[derive(Debug, Clone, Copy)]
pub struct Tracepoint {
    system: &'static str,
    event: &'static str,
}

/// The layout of the records of a tracepoint on this kernel.
pub struct Layout {
    tracepoint: Tracepoint,
    format: EventFormat,
}

/// For [`Hook::probe`](trace_hook_api::Hook::probe): checks that a session can use tracefs, and that the kernel has these
/// tracepoints.
///
/// # Errors
///
/// The message says what is missing.
pub fn check(environment: &Environment, tracepoints: &[Tracepoint]) -> Result<()> {
    let Some(tracefs) = usable_tracefs(environment)? else { return Ok(()) };
    match tracepoints.iter().find(|tracepoint| !tracepoint.is_in(&tracefs)) {
        Some(Tracepoint { system, event }) => {
            Err(HookError::new(format!("the kernel has no event {system}:{event}")))
        }
        None => Ok(()),
    }
}

impl Tracepoint {
    /// `sched:sched_switch` is `Tracepoint::new("sched", "sched_switch")`.
    pub const fn new(system: &'static str, event: &'static str) -> Self {
        Self { system, event }
    }

    /// Whether the kernel has it.
    pub fn is_in(self, tracefs: &Tracefs) -> bool {
        tracefs.has_event(self.system, self.event)
    }

    /// Enables it.
    ///
    /// # Errors
    ///
    /// The kernel does not have it, or refuses.
    pub fn enable(self, instance: &Instance) -> Result<()> {
        Ok(instance.enable_event(self.system, self.event)?)
    }

    /// Enables it with a filter.
    ///
    /// # Errors
    ///
    /// The kernel does not have it, or its records have no such fields ([`tracefs::Error::BadFilter`]), or it refuses.
    pub fn enable_where(self, expression: &str, instance: &Instance) -> tracefs::Result<()> {
        instance.set_filter(self.system, Some(self.event), expression)?;
        instance.enable_event(self.system, self.event)
    }

    /// Makes the kernel record its stack after each record, once it is enabled.
    ///
    /// # Errors
    ///
    /// The kernel does not have it, or refuses.
    pub fn enable_stack(self, instance: &Instance) -> Result<()> {
        Ok(instance.set_trigger(self.system, self.event, "stacktrace")?)
    }

    /// The layout of its records.
    ///
    /// # Errors
    ///
    /// The kernel does not have it.
    pub fn layout(self, stream: &mut EventStream) -> Result<Layout> {
        Ok(Layout { tracepoint: self, format: stream.format_of(self.system, self.event)? })
    }
}

impl Layout {
    /// The id of its records: [`Record::id`](tracefs_session::Record::id).
    pub fn id(&self) -> u16 {
        self.format.id
    }

    /// A field that all known kernels with this tracepoint have.
    ///
    /// # Errors
    ///
    /// This kernel does not have it.
    pub fn field(&self, name: &str) -> Result<Field> {
        let Tracepoint { system, event } = self.tracepoint;
        let missing = || HookError::new(format!("the kernel's event {system}:{event} has no field '{name}'"));
        self.newer_field(name).ok_or_else(missing)
    }

    /// A field that only some kernels have.
    pub fn newer_field(&self, name: &str) -> Option<Field> {
        self.format.field(name).cloned()
    }
}

//! Events of the kernel, by name: whether they are there, how they are turned on, and where their records have what.
//!
//! A hook names its tracepoints once, as constants. Its probe [checks](check) them, its session
//! [enables](Tracepoint::enable) them, and its view takes from their [`Layout`] the fields that it reads of each record.

use trace_hook_api::{Environment, HookError, Result};
use tracefs::format::{EventFormat, Field};
use tracefs::{Instance, Tracefs};
use tracefs_session::{EventStream, usable_tracefs};

/// An event that the kernel may have.
#[derive(Debug, Clone, Copy)]
pub struct Tracepoint {
    system: &'static str,
    event: &'static str,
}

/// What the records of a tracepoint look like on this kernel.
pub struct Layout {
    tracepoint: Tracepoint,
    format: EventFormat,
}

/// For [`Hook::probe`](trace_hook_api::Hook::probe): checks that a session can use tracefs, and that the kernel has all
/// these.
///
/// # Errors
///
/// What is missing.
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

    /// Has it recorded.
    ///
    /// # Errors
    ///
    /// The kernel does not have it, or refuses.
    pub fn enable(self, instance: &Instance) -> Result<()> {
        Ok(instance.enable_event(self.system, self.event)?)
    }

    /// Has those of its records recorded that `expression` holds for.
    ///
    /// # Errors
    ///
    /// The kernel does not have it, or its records have no such fields ([`tracefs::Error::BadFilter`]), or it refuses.
    pub fn enable_where(self, expression: &str, instance: &Instance) -> tracefs::Result<()> {
        instance.set_filter(self.system, Some(self.event), expression)?;
        instance.enable_event(self.system, self.event)
    }

    /// Has the kernel's stack recorded after each of its records, once it is enabled.
    ///
    /// # Errors
    ///
    /// The kernel does not have it, or refuses.
    pub fn enable_stack(self, instance: &Instance) -> Result<()> {
        Ok(instance.set_trigger(self.system, self.event, "stacktrace")?)
    }

    /// What its records look like.
    ///
    /// # Errors
    ///
    /// The kernel does not have it.
    pub fn layout(self, stream: &mut EventStream) -> Result<Layout> {
        Ok(Layout { tracepoint: self, format: stream.format_of(self.system, self.event)? })
    }
}

impl Layout {
    /// By what its records are known: [`Record::id`](tracefs_session::Record::id).
    pub fn id(&self) -> u16 {
        self.format.id
    }

    /// A field that every kernel with this tracepoint has had so far.
    ///
    /// # Errors
    ///
    /// This one has not.
    pub fn field(&self, name: &str) -> Result<Field> {
        let Tracepoint { system, event } = self.tracepoint;
        let missing = || HookError::new(format!("the kernel's event {system}:{event} has no field '{name}'"));
        self.newer_field(name).ok_or_else(missing)
    }

    /// A field that not every kernel has.
    pub fn newer_field(&self, name: &str) -> Option<Field> {
        self.format.field(name).cloned()
    }
}

//! Probes in programs (Documentation/trace/uprobetracer.rst).
//!
//! The kernel keeps one list of probes for all instances, and a probe outlives the process that defined it. So the probes of
//! an instance use its name as their system, and are removed with it, at its end or by a sweep.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::error_log::latest_error;
use crate::instance::Instance;
use crate::probe_list::PROBE_LIST;

/// The longest definition in bytes, with its line end (`WRITE_BUFSIZE` in kernel/trace/trace.c).
const LONGEST: usize = 4094;

/// A probe in a program (uprobe or uretprobe).
///
/// Several probes may share an event if they are of the same kind and their arguments have the same names and types.
/// Disabling an event takes the kernel some 20 ms, and some 0.5 ms more for each of its probes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserProbe {
    /// The name of the event, a C identifier. Its system has the name of the instance.
    pub event: String,
    /// Whether the probe hits when the function at `offset` returns, and not when it is called.
    pub returns: bool,
    /// The program or library: a path without blanks that this process can open. The kernel resolves it once.
    pub file: PathBuf,
    /// The offset of an instruction in the file, in bytes.
    pub offset: u64,
    /// The values to record, each as `NAME=FETCHARG`.
    pub arguments: Vec<String>,
}

impl UserProbe {
    /// A probe that hits when the instruction at `offset` is executed.
    pub fn at(event: impl Into<String>, file: impl Into<PathBuf>, offset: u64) -> Self {
        Self { event: event.into(), returns: false, file: file.into(), offset, arguments: Vec::new() }
    }

    /// A probe that hits when the function that begins at `offset` returns.
    pub fn at_return(event: impl Into<String>, file: impl Into<PathBuf>, offset: u64) -> Self {
        Self { returns: true, ..Self::at(event, file, offset) }
    }

    /// Records these values, each given as `NAME=FETCHARG`.
    pub fn arguments<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }
}

impl Instance {
    /// Defines probes, whose events this instance can then [enable](Instance::enable_event). Their system has the name of the
    /// instance, which must be a C identifier. They are removed with the instance.
    ///
    /// While an event is enabled, every process that has the file mapped traps at its probes, whether or not this instance
    /// records the process.
    ///
    /// # Errors
    /// [`Error::BadProbe`] with the kernel's explanation. The probes before the refused one are defined.
    pub fn define_user_probes(&self, probes: &[UserProbe]) -> Result<()> {
        self.define(probes).map_err(|error| self.explained(error))
    }

    /// Removes the probes of an event that is not enabled.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn remove_user_probes_of(&self, event: &str) -> Result<()> {
        self.tracefs().dir.write(PROBE_LIST, &format!("-:{}/{event}", self.name()))
    }

    /// Whether two paths on different devices are the same file for probes. Several overlay file systems may share a file of
    /// a lower layer; a probe on each path would record every hit twice.
    ///
    /// # Errors
    /// The kernel refuses probes in one of the files.
    pub fn is_one_file(&self, one: &Path, other: &Path) -> Result<bool> {
        const EVENT: &str = "compared";
        let probe = |file: &Path| UserProbe::at(EVENT, file, 0);
        self.define_user_probes(&[probe(one)])?;
        let second = self.define(&[probe(other)]);
        self.remove_user_probes_of(EVENT)?;
        match second {
            Ok(()) => Ok(false),
            // "There is already the exact same probe event."
            Err(error) if error.errno() == Some(Errno::EEXIST) => Ok(true),
            Err(error) => Err(self.explained(error)),
        }
    }

    /// Adds the kernel's explanation to the refusal of a definition.
    fn explained(&self, error: Error) -> Error {
        let system = format!(":{}/", self.name());
        let reason = latest_error(&self.tracefs().dir).filter(|reason| reason.contains(&system));
        match (error.errno(), reason) {
            (Some(Errno::EINVAL | Errno::EEXIST | Errno::E2BIG), Some(reason)) => Error::BadProbe { reason },
            _ => error,
        }
    }

    fn define(&self, probes: &[UserProbe]) -> Result<()> {
        self.has_probes.store(true, Ordering::Relaxed);
        let definitions: Vec<String> =
            probes.iter().map(|probe| Definition { system: self.name(), probe }.to_string()).collect();
        // The kernel refuses it without a reason.
        if let Some(definition) = definitions.iter().find(|definition| definition.len() > LONGEST) {
            let reason =
                format!("its definition is too long: {} bytes of {LONGEST} at most", definition.len());
            return Err(Error::BadProbe { reason });
        }
        self.tracefs().dir.write(PROBE_LIST, &definitions.concat())
    }
}

/// The line that defines a probe.
struct Definition<'a> {
    system: &'a str,
    probe: &'a UserProbe,
}

impl fmt::Display for Definition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UserProbe { event, returns, file, offset, arguments } = self.probe;
        let kind = if *returns { 'r' } else { 'p' };
        write!(f, "{kind}:{}/{event} {}:{offset:#x}", self.system, file.display())?;
        arguments.iter().try_for_each(|argument| write!(f, " {argument}"))?;
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_have_the_syntax_of_uprobe_events() {
        let probe =
            UserProbe::at("call", "/proc/self/fd/5", 0x1234).arguments(["a=%di:u64", "b=+0(%si):string"]);
        let text = Definition { system: "s", probe: &probe }.to_string();
        assert_eq!(text, "p:s/call /proc/self/fd/5:0x1234 a=%di:u64 b=+0(%si):string\n");
        let probe = UserProbe::at_return("call", "/proc/self/fd/5", 0x1234);
        assert_eq!(
            Definition { system: "s", probe: &probe }.to_string(),
            "r:s/call /proc/self/fd/5:0x1234\n"
        );
    }
}

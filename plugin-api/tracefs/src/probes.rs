//! Events at places in programs (Documentation/trace/uprobetracer.rst).
//!
//! The kernel keeps one list of them for everybody, whichever instance records them, and nothing removes them by itself.
//! So those of an instance bear its name as their system, and go with it: whoever removes the instance, or sweeps it,
//! removes them as well.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::mount::Tracefs;
use crate::teardown::{PATIENCE, while_busy};

/// All events at places in programs, one a line, and where they are defined. Opened with O_TRUNC it would lose them all.
const LIST: &str = "uprobe_events";

/// The bytes of a definition with its line end (`WRITE_BUFSIZE` in the kernel's kernel/trace/trace.c).
const LONGEST: usize = 4094;

/// A place in a program at which an event happens.
///
/// Several may share an event, if all of them are of the same kind and their arguments have the same names and types.
/// To disable an event the kernel waits some 20 ms, and some 0.5 ms for each of its places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserProbe {
    /// The name of the event; its system is named as the instance. A C identifier.
    pub event: String,
    /// Whether it happens when the function returns that begins at the place, not when it is called.
    pub returns: bool,
    /// The program or library, by a path that this process can reach, without blanks. The kernel looks at it once.
    pub file: PathBuf,
    /// The place, in bytes from the beginning of the file: that of an instruction.
    pub offset: u64,
    /// What is to be recorded, each as `NAME=FETCHARG`.
    pub arguments: Vec<String>,
}

impl Tracefs {
    /// Whether the kernel can have events at places in programs (CONFIG_UPROBE_EVENTS).
    pub fn has_user_probes(&self) -> bool {
        self.dir.has(LIST)
    }

    /// Removes the probes of a system; tells how many events that were.
    ///
    /// They are looked for in the directory of the system, and not in the list: the kernel tells that one record at a time,
    /// by their numbers, and skips one whenever somebody removes another before it.
    ///
    /// # Errors
    /// Somebody else has enabled one, and keeps it so. All others are removed.
    pub(crate) fn remove_user_probes(&self, system: &str) -> Result<usize> {
        let events = match self.events(system) {
            Err(Error::UnknownSystem { .. }) => return Ok(0),
            events => events?,
        };
        let deadline = Instant::now() + PATIENCE;
        let mut removed = 0;
        let mut errors = Vec::new();
        for event in events {
            match while_busy(deadline, || self.dir.write(LIST, &format!("-:{system}/{event}"))) {
                Ok(()) => removed += 1,
                // Somebody else has removed it meanwhile.
                Err(error) if error.errno() == Some(Errno::ENOENT) => {}
                Err(error) => errors.push(error),
            }
        }
        Error::all_of(errors).map(|()| removed)
    }

    /// Why the kernel refused a definition, in its own words.
    fn refusal_of(&self, system: &str, error: Error) -> Error {
        let complaint =
            self.latest_complaint().filter(|complaint| complaint.contains(&format!(":{system}/")));
        match (error.errno(), complaint) {
            (Some(Errno::EINVAL | Errno::EEXIST | Errno::E2BIG), Some(reason)) => Error::BadProbe { reason },
            _ => error,
        }
    }
}

impl Instance {
    /// Defines events at places in programs, for this instance to [enable](Instance::enable_event). They belong to the
    /// system that bears the name of the instance, which must be a C identifier, and are gone when the instance is.
    ///
    /// Every process that has the file mapped stops at the places for a moment, from when an event is enabled on, whether
    /// this instance records it or not.
    ///
    /// # Errors
    /// [`Error::BadProbe`] with the kernel's explanation. The probes before the one it refused are defined.
    pub fn define_user_probes(&self, probes: &[UserProbe]) -> Result<()> {
        self.define(probes).map_err(|error| self.tracefs().refusal_of(self.name(), error))
    }

    /// Whether probes of either file are probes of both, although they are on different devices: several overlay file
    /// systems may show one file of a layer below. Who defines a probe of each has everything recorded twice.
    ///
    /// # Errors
    /// The kernel refuses any probe of one of them.
    pub fn is_one_file(&self, one: &Path, other: &Path) -> Result<bool> {
        const EVENT: &str = "compared";
        let probe = |file: &Path| UserProbe {
            event: EVENT.to_owned(),
            returns: false,
            file: file.to_owned(),
            offset: 0,
            arguments: Vec::new(),
        };
        self.define_user_probes(&[probe(one)])?;
        let second = self.define(&[probe(other)]);
        self.tracefs().dir.write(LIST, &format!("-:{}/{EVENT}", self.name()))?;
        match second {
            Ok(()) => Ok(false),
            // "There is already the exact same probe event."
            Err(error) if error.errno() == Some(Errno::EEXIST) => Ok(true),
            Err(error) => Err(self.tracefs().refusal_of(self.name(), error)),
        }
    }

    fn define(&self, probes: &[UserProbe]) -> Result<()> {
        self.has_probes.store(true, Ordering::Relaxed);
        let definitions: Vec<String> =
            probes.iter().map(|probe| Definition { system: self.name(), probe }.to_string()).collect();
        // The kernel says only that it is invalid.
        if let Some(definition) = definitions.iter().find(|definition| definition.len() > LONGEST) {
            let reason =
                format!("its definition is too long: {} bytes of {LONGEST} at most", definition.len());
            return Err(Error::BadProbe { reason });
        }
        self.tracefs().dir.write(LIST, &definitions.concat())
    }
}

/// A probe as the kernel is told of it.
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
    fn a_definition_is_what_the_kernel_takes() {
        let probe = UserProbe {
            event: "call".to_owned(),
            returns: false,
            file: "/proc/self/fd/5".into(),
            offset: 0x1234,
            arguments: vec!["a=%di:u64".to_owned(), "b=+0(%si):string".to_owned()],
        };
        let text = Definition { system: "s", probe: &probe }.to_string();
        assert_eq!(text, "p:s/call /proc/self/fd/5:0x1234 a=%di:u64 b=+0(%si):string\n");
        let probe = UserProbe { returns: true, arguments: Vec::new(), ..probe };
        assert_eq!(
            Definition { system: "s", probe: &probe }.to_string(),
            "r:s/call /proc/self/fd/5:0x1234\n"
        );
    }
}

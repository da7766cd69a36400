//! Puts the probes in place, without those that the kernel refuses.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use nix::errno::Errno;
use trace_hook_api::{HookError, Result};
use tracefs::{Error, Instance, UserProbe};

use super::left_out::LeftOut;
use super::probe_set::Event;
use super::probe_target::ProbeTarget;

/// How many parts of refused events are tried.
const MAX_ATTEMPTS: usize = 64;

/// `ENOTSUPP` in the kernel's include/linux/errno.h; not in errno(3).
const NOT_SUPPORTED: i32 = 524;

/// Defines probes, and enables their events. Returns the functions that are left out. `announce` is called with each event
/// before it is enabled.
///
/// The kernel enables an event with all its probes, or not at all. It refuses a probe at an instruction that it cannot run
/// elsewhere, or cannot read; a traced process can have changed it since the search. A refused event is split, until the file
/// is found, and then the place in it.
///
/// # Errors
///
/// The kernel refuses a definition, or all probes.
pub fn enable(
    instance: &Instance,
    probes: Vec<UserProbe>,
    events: Vec<Event>,
    targets: &[ProbeTarget],
    announce: impl Fn(&Event),
) -> Result<LeftOut> {
    instance.define_user_probes(&probes).map_err(refusal)?;
    let mut attempts = Attempts {
        instance,
        announce: &announce,
        left: MAX_ATTEMPTS,
        any_enabled: false,
        refused: Vec::new(),
    };
    for event in events {
        let probes: Vec<_> = probes.iter().filter(|probe| probe.event == event.name).cloned().collect();
        // Without probes, all of them are duplicates.
        if !probes.is_empty()
            && let Some(part) = attempts.enable(&event, probes)?
        {
            attempts.split(&event, part)?;
        }
    }
    let left_out = left_out(&attempts.refused, targets);
    match attempts.any_enabled || attempts.refused.is_empty() {
        true => Ok(left_out),
        false => {
            Err(HookError::new(format!("the kernel can put a probe at none of the functions: {left_out}")))
        }
    }
}

/// Probes of an event that was refused, and why.
struct Part {
    probes: Vec<UserProbe>,
    reason: String,
}

struct Attempts<'a> {
    instance: &'a Instance,
    announce: &'a dyn Fn(&Event),
    left: usize,
    any_enabled: bool,
    refused: Vec<Part>,
}

impl Attempts<'_> {
    /// Enables as many probes of a refused event as possible, by other events.
    fn split(&mut self, event: &Event, part: Part) -> Result<()> {
        // All files first, so that what is wrong in one file does not use up the attempts for the others.
        let of_one_file = self.split_with(event, vec![part], halves_by_file)?;
        let of_one_place = self.split_with(event, of_one_file, halves)?;
        self.refused.extend(of_one_place);
        Ok(())
    }

    /// Splits the parts and tries the halves. Returns those that are refused and cannot be split, or not be tried any more.
    fn split_with(
        &mut self,
        event: &Event,
        parts: Vec<Part>,
        halves: fn(&[UserProbe]) -> Option<[Vec<UserProbe>; 2]>,
    ) -> Result<Vec<Part>> {
        let (mut parts, mut whole) = (VecDeque::from(parts), Vec::new());
        while let Some(part) = parts.pop_front() {
            let Some(halves) = halves(&part.probes).filter(|_| self.left >= 2) else {
                whole.push(part);
                continue;
            };
            for half in halves {
                parts.extend(self.attempt(event, half)?);
            }
        }
        Ok(whole)
    }

    /// Tries some probes of an event, by another event. Returns them if they are refused.
    fn attempt(&mut self, event: &Event, mut probes: Vec<UserProbe>) -> Result<Option<Part>> {
        self.left -= 1;
        let name = format!("{}_{}", event.name, self.left);
        probes.iter_mut().for_each(|probe| probe.event.clone_from(&name));
        self.instance.define_user_probes(&probes).map_err(refusal)?;
        self.enable(&event.named(name), probes)
    }

    /// Enables an event with these probes, which are defined. Returns them, and removes the event, if it is refused.
    fn enable(&mut self, event: &Event, probes: Vec<UserProbe>) -> Result<Option<Part>> {
        (self.announce)(event);
        match self.instance.enable_event(self.instance.name(), &event.name) {
            Ok(()) => {
                self.any_enabled = true;
                Ok(None)
            }
            Err(error) => {
                let reason = reason(error)?;
                self.instance.remove_user_probes_of(&event.name)?;
                Ok(Some(Part { probes, reason }))
            }
        }
    }
}

/// Two halves of the probes. `None`, if there is one only.
fn halves(probes: &[UserProbe]) -> Option<[Vec<UserProbe>; 2]> {
    let (first, second) = probes.split_at(probes.len() / 2);
    (!first.is_empty()).then(|| [first.to_vec(), second.to_vec()])
}

/// The probes in one half of the files, and those in the other. `None`, if they are all in one file.
fn halves_by_file(probes: &[UserProbe]) -> Option<[Vec<UserProbe>; 2]> {
    let mut files: Vec<&Path> = probes.iter().map(|probe| probe.file.as_path()).collect();
    files.sort_unstable();
    files.dedup();
    let middle = *files.get(files.len() / 2).filter(|_| files.len() > 1)?;
    let (first, second) = probes.iter().cloned().partition(|probe| probe.file.as_path() < middle);
    Some([first, second])
}

/// What is left out, by file.
fn left_out(refused: &[Part], targets: &[ProbeTarget]) -> LeftOut {
    let mut by_file: BTreeMap<&Path, BTreeMap<u64, &str>> = BTreeMap::new();
    for Part { probes, reason } in refused {
        for probe in probes {
            by_file.entry(&probe.file).or_default().insert(probe.offset, reason);
        }
    }
    let mut left_out = LeftOut::default();
    for (link, places) in by_file {
        let target =
            |offset| targets.iter().find(|target| target.binary.link == link && target.offset == offset);
        let Some((first, reason)) =
            places.iter().find_map(|(offset, reason)| Some((target(*offset)?, reason)))
        else {
            continue;
        };
        let name = first.name();
        let more = match places.len() {
            1 => String::new(),
            count => format!(" and {} more functions", count - 1),
        };
        left_out.add(format_args!("'{name}'{more} in {}: {reason}", first.binary.path.display()));
    }
    left_out
}

/// Why the kernel refuses an event, if that is because of a probe.
fn reason(error: Error) -> Result<String> {
    let Error::Io { source, .. } = &error else { return Err(error.into()) };
    match source.raw_os_error().map(|errno| (errno, Errno::from_raw(errno))) {
        Some((NOT_SUPPORTED, _) | (_, Errno::ENOEXEC)) => {
            Ok("the kernel cannot put a probe at its first instruction".to_owned())
        }
        // Of the kernel or of this process, and not of a file.
        None
        | Some((
            _,
            Errno::ENOMEM
            | Errno::ENOENT
            | Errno::ENODEV
            | Errno::EPERM
            | Errno::EACCES
            | Errno::EINTR
            | Errno::EMFILE
            | Errno::ENFILE,
        )) => Err(error.into()),
        // The file was truncated, or its file system does not let the kernel read it, for any reason of its own.
        Some(_) => Ok(format!("the kernel cannot read the file: {source}")),
    }
}

/// The kernel's message, and below it the definition with a caret at the error.
fn refusal(error: Error) -> HookError {
    match error {
        Error::BadProbe { reason } => {
            let (headline, excerpt) = reason.split_once('\n').unwrap_or((&reason, ""));
            HookError::usage(format!("the kernel refuses a probe: {headline}")).excerpt(excerpt)
        }
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes(places: &[(&str, u64)]) -> Vec<UserProbe> {
        places.iter().map(|(file, offset)| UserProbe::at("call", *file, *offset)).collect()
    }

    #[test]
    fn probes_are_split_by_file_first_and_then_by_place() {
        let all = probes(&[("/a", 1), ("/b", 1), ("/a", 2), ("/c", 1), ("/b", 2)]);
        let [first, second] = halves_by_file(&all).unwrap();
        assert_eq!(first, probes(&[("/a", 1), ("/a", 2)]));
        assert_eq!(second, probes(&[("/b", 1), ("/c", 1), ("/b", 2)]));
        assert!(halves_by_file(&first).is_none());
        assert_eq!(halves(&first).unwrap(), [probes(&[("/a", 1)]), probes(&[("/a", 2)])]);
        assert!(halves(&first[..1]).is_none());
    }
}

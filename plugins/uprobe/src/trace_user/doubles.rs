//! Files that are one for the kernel, seen through different file systems: containers share the layers below theirs.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use trace_hook_api::{Result, log};
use tracefs::{Instance, UserProbe};

use super::binary::Binary;
use super::place::Place;

/// Leaves out the probes at places that others are at already: every call would be recorded twice.
///
/// # Errors
///
/// The kernel refuses any probe of one of the files.
pub fn without_doubles(
    probes: Vec<UserProbe>,
    places: &[Place],
    instance: &Instance,
) -> Result<Vec<UserProbe>> {
    let originals = originals(places, instance)?;
    if originals.is_empty() {
        return Ok(probes);
    }
    let mut known = HashSet::new();
    let is_first = |probe: &UserProbe| {
        let file = originals.get(probe.file.as_path()).map_or(probe.file.as_path(), |original| *original);
        known.insert((file.to_owned(), probe.offset, probe.returns))
    };
    Ok(probes.into_iter().filter(is_first).collect())
}

/// For each file that is one with an earlier one, that one.
fn originals<'a>(places: &'a [Place], instance: &Instance) -> Result<HashMap<&'a Path, &'a Path>> {
    let mut originals = HashMap::new();
    let mut different: Vec<&Binary> = Vec::new();
    let mut known = HashSet::new();
    for binary in places.iter().map(|place| &*place.binary).filter(|binary| known.insert(binary.identity)) {
        let mut original = None;
        for other in different.iter().filter(|other| other.looks_like(binary)) {
            if instance.is_one_file(&other.link, &binary.link)? {
                original = Some(*other);
                break;
            }
        }
        match original {
            Some(original) => {
                log::debug!(
                    "{} of one process is {} of another",
                    binary.path.display(),
                    original.path.display()
                );
                originals.insert(binary.link.as_path(), original.link.as_path());
            }
            None => different.push(binary),
        }
    }
    Ok(originals)
}

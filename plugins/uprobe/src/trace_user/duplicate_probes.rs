//! Duplicate probes: containers share the lower layers of their file systems, so that files with different device numbers can
//! be the same file for the kernel.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use trace_hook_api::{Result, log};
use tracefs::{Instance, UserProbe};

use super::binary::Binary;
use super::probe_target::ProbeTarget;

/// Leaves out probes at the same place of the same file: each call would be recorded twice.
///
/// # Errors
///
/// The kernel refuses every probe of one of the files.
pub fn without_duplicates(
    probes: Vec<UserProbe>,
    targets: &[ProbeTarget],
    instance: &Instance,
) -> Result<Vec<UserProbe>> {
    let originals = originals(targets, instance)?;
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

/// Maps each file that is the same as an earlier one to that one.
fn originals<'a>(targets: &'a [ProbeTarget], instance: &Instance) -> Result<HashMap<&'a Path, &'a Path>> {
    let mut originals = HashMap::new();
    let mut different: Vec<&Binary> = Vec::new();
    let mut known = HashSet::new();
    for binary in targets.iter().map(|target| &*target.binary).filter(|binary| known.insert(binary.identity))
    {
        let mut original = None;
        for other in different.iter().filter(|other| other.may_be_same_file(binary)) {
            if instance.is_one_file(&other.link, &binary.link)? {
                original = Some(*other);
                break;
            }
        }
        match original {
            Some(original) => {
                log::debug!("{} is the same file as {}", binary.path.display(), original.path.display());
                originals.insert(binary.link.as_path(), original.link.as_path());
            }
            None => different.push(binary),
        }
    }
    Ok(originals)
}

//! Duplicate probes: containers share the lower layers of their file systems, so that files with different device numbers can
//! be the same file for the kernel.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trace_hook_api::log;
use tracefs::{Instance, UserProbe};

use super::binary::Binary;
use super::probe_target::ProbeTarget;

/// The probes of a session, and the files that they are in. The files stay open, so that each link leads to one file only.
#[derive(Default)]
pub struct KnownProbes {
    files: HashMap<(u64, u64), Arc<Binary>>,
    /// Maps the link of each file that is the same as an earlier one to the link of that one.
    originals: HashMap<PathBuf, PathBuf>,
    places: HashSet<(PathBuf, u64, bool)>,
}

impl KnownProbes {
    /// Leaves out probes at a place of a file that has one: each call would be recorded twice.
    pub fn add(
        &mut self,
        probes: Vec<UserProbe>,
        targets: &[ProbeTarget],
        instance: &Instance,
    ) -> Vec<UserProbe> {
        for binary in targets.iter().map(|target| &target.binary) {
            self.add_file(binary, instance);
        }
        let is_first = |probe: &UserProbe| {
            let file = self.originals.get(&probe.file).unwrap_or(&probe.file);
            self.places.insert((file.clone(), probe.offset, probe.returns))
        };
        probes.into_iter().filter(is_first).collect()
    }

    /// The file that was opened before, if this is the same.
    pub fn opened(&self, binary: &Binary) -> Option<&Arc<Binary>> {
        self.files.get(&binary.identity)
    }

    fn add_file(&mut self, binary: &Arc<Binary>, instance: &Instance) {
        if self.files.contains_key(&binary.identity) {
            return;
        }
        if let Some(original) = self.original_of(binary, instance) {
            log::debug!("{} is the same file as {}", binary.path.display(), original.display());
            self.originals.insert(binary.link.clone(), original);
        }
        self.files.insert(binary.identity, Arc::clone(binary));
    }

    fn original_of(&self, binary: &Binary, instance: &Instance) -> Option<PathBuf> {
        let is_original = |file: &Path| !self.originals.contains_key(file);
        let others = self.files.values().filter(|other| is_original(&other.link));
        // An error concerns one of the files, which is left out when the probes are enabled.
        let is_same = |link: &Path| instance.is_one_file(link, &binary.link).unwrap_or(false);
        let mut same = others.filter(|other| other.may_be_same_file(binary) && is_same(&other.link));
        same.next().map(|other| other.link.clone())
    }
}

use std::sync::{Arc, Mutex};

use crate::{Instance, Kernel};

/// The tracing instances that were still there when their manager had ended. The next call may remove them; in the end
/// they must be gone.
///
/// They are looked for at that very moment: later, their process ids may be those of other managers.
#[derive(Clone, Default)]
pub(crate) struct Suspects(Arc<Mutex<Vec<Instance>>>);

impl Suspects {
    /// Notes what the manager with this process id, which has just ended, has left.
    pub(crate) fn note(&self, pid: u32) {
        let left = Kernel::find().map(|kernel| kernel.instances_of(&[pid])).unwrap_or_default();
        self.0.lock().expect("nobody panics here").extend(left);
    }

    /// Removes those that are still there; how many, and the name of one.
    pub(crate) fn remove(&self) -> Option<(usize, String)> {
        let mut suspects = self.0.lock().expect("nobody panics here");
        suspects.retain(Instance::exists);
        suspects.iter().for_each(Instance::remove);
        let name = suspects.first()?.name().to_owned();
        Some((suspects.len(), name))
    }
}

use std::sync::{Arc, Mutex};

use crate::wait::holds_within;
use crate::{Instance, Kernel, PATIENCE};

/// The tracing instances and uprobes that still existed when their manager had ended. The next call may remove them;
/// when the test ends they must be gone.
///
/// They are recorded as soon as the manager has ended: later, its process id may belong to another manager.
#[derive(Clone, Default)]
pub(crate) struct LeakCheck(Arc<Mutex<Left>>);

#[derive(Default)]
struct Left {
    instances: Vec<Instance>,
    /// The lines that define the uprobes.
    probes: Vec<String>,
}

impl LeakCheck {
    /// Records what the manager with this process id, which has just ended, left in the kernel.
    pub(crate) fn note(&self, pid: u32) {
        let Some(kernel) = Kernel::find() else { return };
        let mut left = self.0.lock().expect("no holder of the lock panics");
        left.instances.extend(kernel.instances_of(&[pid]));
        left.probes.extend(kernel.probes_of(&[pid]));
    }

    /// Removes those that still exist; returns how many, and the name of one.
    pub(crate) fn remove(&self) -> Option<(usize, String)> {
        let kernel = Kernel::find()?;
        let mut left = self.0.lock().expect("no holder of the lock panics");
        left.instances.retain(Instance::exists);
        left.instances.iter().for_each(remove);
        let defined = kernel.top().get("uprobe_events");
        left.probes.retain(|probe| defined.lines().any(|line| line == probe));
        left.probes.iter().for_each(|probe| kernel.remove_probe(probe));
        let names = left.instances.iter().map(Instance::name).chain(left.probes.iter().map(String::as_str));
        let names: Vec<&str> = names.collect();
        Some((names.len(), (*names.first()?).to_owned()))
    }
}

/// Removes the instance. A worker that was killed, because its test has failed, may still be closing the instance's files.
fn remove(instance: &Instance) {
    holds_within(PATIENCE, || {
        instance.remove();
        !instance.exists()
    });
}

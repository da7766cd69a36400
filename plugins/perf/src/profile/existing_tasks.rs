//! The tasks that existed before the recording started: their names and mappings from procfs, as the kernel's records have
//! them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trace_session::spool::Spool;
use trace_stacks::{ObserveTasks, OwnedMapping};
use trace_tasks::Pid;

use crate::perf_event::{Body, Record};

/// The largest page of records, in bytes.
const MAX_PAGE: usize = 64 << 10;

/// Pushes records of tasks into the spool, with times before all others.
#[derive(Debug)]
pub struct ExistingTasks {
    procfs: PathBuf,
    spool: Arc<Spool>,
}

impl ExistingTasks {
    pub fn new(procfs: &Path, spool: Arc<Spool>) -> Self {
        Self { procfs: procfs.to_owned(), spool }
    }
}

impl ObserveTasks for ExistingTasks {
    /// A process, and some of its threads.
    type Tasks = (Pid, Vec<Pid>);

    fn process((process, _): &Self::Tasks) -> Pid {
        *process
    }

    fn begin(&mut self, (process, threads): &Self::Tasks) {
        for thread in threads {
            self.spool.push_page(0, &comm(&self.procfs, *process, *thread), 0, 0);
        }
    }

    fn take(&mut self, (process, _): &Self::Tasks, mappings: Vec<OwnedMapping>) {
        let mut page = Vec::new();
        for mapping in mappings {
            let record = record(*process, *process, Body::Mmap(mapping.borrowed()));
            if page.len() + record.len() > MAX_PAGE {
                self.spool.push_page(0, &std::mem::take(&mut page), 0, 0);
            }
            page.extend(record);
        }
        self.spool.push_page(0, &page, 0, 0);
    }
}

/// A record with the name of a thread. Empty, if the thread has ended.
fn comm(procfs: &Path, process: u32, thread: u32) -> Vec<u8> {
    let Ok(name) = fs::read(procfs.join(format!("{process}/task/{thread}/comm"))) else { return Vec::new() };
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    record(process, thread, Body::Comm { name, is_exec: false })
}

/// The bytes of a record that is older than all others.
fn record(process: u32, thread: u32, body: Body<'_>) -> Vec<u8> {
    Record { time: 0, cpu: 0, process, thread, id: 0, body }.to_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::perf_event::Records;

    #[test]
    fn tasks_that_have_ended_have_no_record() {
        assert!(comm(Path::new("/nowhere"), 1, 1).is_empty());
        let own = std::process::id();
        let bytes = comm(Path::new("/proc"), own, own);
        let named = Records(&bytes)
            .any(|(_, record)| matches!(record.body, Body::Comm { name, .. } if !name.is_empty()));
        assert!(named);
    }

    proptest! {
        #[test]
        fn any_mapping_has_a_record(address: u64, length: u64, offset: u64, path in "/[^\0]{0,300}") {
            let path = path.into_bytes();
            let mapping =
                OwnedMapping { address, length, offset, device: (0, 0x2e), inode: 7, generation: 0, path };
            let bytes = record(1, 1, Body::Mmap(mapping.borrowed()));
            prop_assert_eq!(Records(&bytes).count(), 1);
        }
    }
}

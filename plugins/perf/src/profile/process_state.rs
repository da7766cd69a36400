//! The names and mappings of the tasks, as of the record that is processed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use trace_stacks::{CodeMap, Modules};

use crate::perf_event::{Body, Record};

/// What the records so far say about the tasks that are alive.
#[derive(Debug, Default)]
pub struct Processes {
    names: HashMap<u32, Arc<[u8]>>,
    processes: HashMap<u32, Process>,
}

#[derive(Debug, Default)]
struct Process {
    threads: HashSet<u32>,
    /// A child shares that of its parent until it maps something itself.
    code: Arc<CodeMap>,
}

impl Processes {
    /// Applies a record. Records must come in the order of time.
    pub fn apply(&mut self, record: &Record<'_>, modules: &Modules) {
        let Record { process, thread, .. } = *record;
        match record.body {
            Body::Comm { name, is_exec } => {
                self.names.insert(thread, name.into());
                let process = self.processes.entry(process).or_default();
                if is_exec {
                    process.code = Arc::default();
                    // The thread continues with the number of the first one, and its old number has no exit record.
                    for gone in process.threads.drain().filter(|other| *other != thread) {
                        self.names.remove(&gone);
                    }
                }
                process.threads.insert(thread);
            }
            Body::Mmap(mapping) => {
                let code = &mut self.processes.entry(process).or_default().code;
                Arc::make_mut(code).map(record.process, &mapping, modules);
            }
            Body::Fork { parent_pid, parent_tid } => {
                if let Some(name) = self.names.get(&parent_tid) {
                    self.names.insert(thread, Arc::clone(name));
                }
                let inherited = self.code(parent_pid).cloned().filter(|_| process != parent_pid);
                let process = self.processes.entry(process).or_default();
                process.threads.insert(thread);
                process.code = inherited.unwrap_or_else(|| Arc::clone(&process.code));
            }
            Body::Exit => self.forget(process, thread),
            Body::Sample(_) | Body::Lost(_) | Body::Throttle | Body::Other => {}
        }
    }

    /// The name of a thread of a process.
    pub fn comm(&self, process: u32, thread: u32) -> &[u8] {
        let name = self.names.get(&thread).or_else(|| self.executing_thread(process, thread));
        name.map_or(b"<...>", |name| name)
    }

    /// The name of a thread that has got the number of the first one, since it executes a program, but not yet the name of that: all
    /// others have ended then, and it is known by its old number.
    fn executing_thread(&self, process: u32, thread: u32) -> Option<&Arc<[u8]>> {
        let mut threads = self.processes.get(&process).filter(|_| process == thread)?.threads.iter();
        let only = threads.next().filter(|_| threads.next().is_none())?;
        self.names.get(only)
    }

    /// The code of a process.
    pub fn code(&self, process: u32) -> Option<&Arc<CodeMap>> {
        self.processes.get(&process).map(|process| &process.code)
    }

    fn forget(&mut self, process: u32, thread: u32) {
        self.names.remove(&thread);
        if let Some(members) = self.processes.get_mut(&process) {
            members.threads.remove(&thread);
            if members.threads.is_empty() {
                self.processes.remove(&process);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trace_hook_api::Environment;
    use trace_stacks::Mapping;

    use super::*;

    fn mapping(address: u64, length: u64, offset: u64, path: &[u8]) -> Mapping<'_> {
        Mapping { address, length, offset, device: (8, 1), inode: 1, generation: 1, path }
    }

    fn apply(processes: &mut Processes, process: u32, thread: u32, body: Body<'_>) {
        let modules = Modules::new(&Environment::new("/nowhere", "/nowhere"), Vec::new(), 0);
        processes.apply(&Record { time: 0, cpu: 0, process, thread, id: 0, body }, &modules);
    }

    fn at(processes: &Processes, process: u32, address: u64) -> Option<(String, u64)> {
        let place = processes.code(process)?.at(address)?;
        Some((place.module.name.clone(), place.offset))
    }

    #[test]
    fn later_mappings_replace_earlier_ones() {
        let mut processes = Processes::default();
        apply(&mut processes, 1, 1, Body::Mmap(mapping(0x1000, 0x3000, 0x100, b"/lib/old")));
        apply(&mut processes, 1, 1, Body::Mmap(mapping(0x2000, 0x1000, 0, b"/lib/new (deleted)")));
        assert_eq!(at(&processes, 1, 0x1fff), Some(("old".to_owned(), 0x10ff)));
        assert_eq!(at(&processes, 1, 0x2000), Some(("new".to_owned(), 0)));
        assert_eq!(at(&processes, 1, 0x3000), Some(("old".to_owned(), 0x2100)));
        assert_eq!(at(&processes, 1, 0x4000), None);
        assert_eq!(at(&processes, 2, 0x2000), None);
    }

    #[test]
    fn children_inherit_name_and_mappings_until_they_exec() {
        let mut processes = Processes::default();
        apply(&mut processes, 1, 1, Body::Comm { name: b"sh", is_exec: false });
        apply(&mut processes, 1, 1, Body::Mmap(mapping(0x1000, 0x1000, 0, b"/bin/sh")));
        apply(&mut processes, 2, 2, Body::Fork { parent_pid: 1, parent_tid: 1 });
        apply(&mut processes, 1, 1, Body::Mmap(mapping(0x1000, 0x1000, 0, b"/bin/bash")));
        assert_eq!(at(&processes, 2, 0x1000).unwrap().0, "sh");
        assert_eq!(processes.comm(2, 2), b"sh");
        apply(&mut processes, 2, 2, Body::Comm { name: b"cat", is_exec: true });
        assert_eq!((at(&processes, 2, 0x1000), processes.comm(2, 2)), (None, &b"cat"[..]));
    }

    #[test]
    fn nothing_is_kept_of_ended_processes() {
        let mut processes = Processes::default();
        apply(&mut processes, 1, 1, Body::Comm { name: b"a", is_exec: false });
        apply(&mut processes, 1, 2, Body::Fork { parent_pid: 1, parent_tid: 1 });
        apply(&mut processes, 1, 1, Body::Exit);
        assert!(processes.code(1).is_some());
        apply(&mut processes, 1, 2, Body::Exit);
        assert!(processes.names.is_empty() && processes.processes.is_empty());
    }

    #[test]
    fn exec_leaves_one_thread() {
        let mut processes = Processes::default();
        apply(&mut processes, 1, 1, Body::Comm { name: b"a", is_exec: false });
        apply(&mut processes, 1, 2, Body::Fork { parent_pid: 1, parent_tid: 1 });
        apply(&mut processes, 1, 1, Body::Exit);
        apply(&mut processes, 1, 1, Body::Comm { name: b"b", is_exec: true });
        assert_eq!((processes.comm(1, 1), processes.comm(1, 2)), (&b"b"[..], &b"<...>"[..]));
        apply(&mut processes, 1, 1, Body::Exit);
        assert!(processes.names.is_empty() && processes.processes.is_empty());
    }

    #[test]
    fn thread_that_executes_a_program_has_its_name_with_either_number() {
        let mut processes = Processes::default();
        apply(&mut processes, 1, 1, Body::Comm { name: b"a", is_exec: false });
        for thread in [2, 3] {
            apply(&mut processes, 1, thread, Body::Fork { parent_pid: 1, parent_tid: 1 });
        }
        apply(&mut processes, 1, 2, Body::Comm { name: b"executes", is_exec: false });
        apply(&mut processes, 1, 1, Body::Exit);
        assert_eq!(processes.comm(1, 1), b"<...>", "it is not known which of them executes");
        apply(&mut processes, 1, 3, Body::Exit);
        assert_eq!((processes.comm(1, 2), processes.comm(1, 1)), (&b"executes"[..], &b"executes"[..]));
        apply(&mut processes, 1, 1, Body::Comm { name: b"b", is_exec: true });
        assert_eq!(processes.comm(1, 1), b"b");
    }

    proptest! {
        #[test]
        fn any_mappings_can_be_looked_up(
            mappings in prop::collection::vec((0..9_u64, 0..9_u64, any::<u64>(), any::<bool>()), 0..20),
        ) {
            let mut processes = Processes::default();
            for (address, length, offset, is_high) in mappings {
                let address = if is_high { u64::MAX - address } else { address };
                apply(&mut processes, 1, 1, Body::Mmap(mapping(address, length, offset, b"/lib/x")));
                if length > 0 && !is_high {
                    prop_assert_eq!(at(&processes, 1, address).unwrap().1, offset);
                }
            }
            for address in (0..20).chain(u64::MAX - 20..=u64::MAX) {
                at(&processes, 1, address);
            }
        }
    }
}

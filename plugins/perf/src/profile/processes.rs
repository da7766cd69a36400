//! Who is called what, and has which code where, at the time of the record that is looked at.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::modules::{Module, Modules};
use crate::perf_event::{Body, Mapping, Record};

/// All that the records have told so far of the tasks that are alive.
#[derive(Debug, Default)]
pub struct Processes {
    names: HashMap<u32, Arc<[u8]>>,
    processes: HashMap<u32, Process>,
}

#[derive(Debug, Default)]
struct Process {
    threads: HashSet<u32>,
    /// Children have those of their parent, until they map something themselves.
    code: Arc<Code>,
}

/// The code in a process' memory, by address.
#[derive(Debug, Clone, Default)]
pub struct Code(BTreeMap<u64, Piece>);

#[derive(Debug, Clone)]
struct Piece {
    end: u64,
    offset: u64,
    module: Arc<Module>,
}

impl Processes {
    /// Takes note of what a record tells, in the order of time.
    pub fn note(&mut self, record: &Record<'_>, modules: &Modules) {
        let Record { process, thread, .. } = *record;
        match record.body {
            Body::Named { name, is_exec } => {
                self.names.insert(thread, name.into());
                let process = self.processes.entry(process).or_default();
                if is_exec {
                    process.code = Arc::default();
                    // One of several threads goes on under the number of the first, and its own tells of no exit.
                    for gone in process.threads.drain().filter(|other| *other != thread) {
                        self.names.remove(&gone);
                    }
                }
                process.threads.insert(thread);
            }
            Body::Mapped(mapping) => {
                let code = &mut self.processes.entry(process).or_default().code;
                Arc::make_mut(code).map(&mapping, modules.module(&mapping));
            }
            Body::Started { by_process, by_thread } => {
                if let Some(name) = self.names.get(&by_thread) {
                    self.names.insert(thread, Arc::clone(name));
                }
                let inherited = self.code(by_process).cloned().filter(|_| process != by_process);
                let process = self.processes.entry(process).or_default();
                process.threads.insert(thread);
                process.code = inherited.unwrap_or_else(|| Arc::clone(&process.code));
            }
            Body::Exited => self.forget(process, thread),
            Body::Sample(_) | Body::Lost(_) | Body::Throttled | Body::Other => {}
        }
    }

    /// The name of a thread.
    pub fn name(&self, thread: u32) -> &[u8] {
        self.names.get(&thread).map_or(b"<...>", |name| name)
    }

    /// The code of a process.
    pub fn code(&self, process: u32) -> Option<&Arc<Code>> {
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

impl Code {
    /// What is at this address, and where in it.
    pub fn at(&self, address: u64) -> Option<(&Arc<Module>, u64)> {
        let (begin, piece) = self.0.range(..=address).next_back()?;
        (address < piece.end).then(|| (&piece.module, (address - begin).wrapping_add(piece.offset)))
    }

    /// What was there before is gone, be it in part.
    fn map(&mut self, mapping: &Mapping<'_>, module: Arc<Module>) {
        let (begin, end) = (mapping.address, mapping.address.saturating_add(mapping.length));
        let overlapped = self.0.range(..end).filter(|(_, piece)| piece.end > begin);
        for start in overlapped.map(|(start, _)| *start).collect::<Vec<_>>() {
            let Some(old) = self.0.remove(&start) else { continue };
            if start < begin {
                self.0.insert(start, Piece { end: begin, ..old.clone() });
            }
            if old.end > end {
                let offset = old.offset.wrapping_add(end - start);
                self.0.insert(end, Piece { offset, ..old });
            }
        }
        if begin < end {
            self.0.insert(begin, Piece { end, offset: mapping.offset, module });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn mapping(address: u64, length: u64, offset: u64, path: &[u8]) -> Mapping<'_> {
        Mapping { address, length, offset, device: (8, 1), inode: 1, generation: 1, path }
    }

    fn note(processes: &mut Processes, process: u32, thread: u32, body: Body<'_>) {
        let modules = Modules::new(Path::new("/nowhere"), Vec::new());
        processes.note(&Record { time: 0, cpu: 0, process, thread, id: 0, body }, &modules);
    }

    fn at(processes: &Processes, process: u32, address: u64) -> Option<(String, u64)> {
        let (module, offset) = processes.code(process)?.at(address)?;
        Some((module.name.clone(), offset))
    }

    #[test]
    fn the_latest_mapping_holds() {
        let mut processes = Processes::default();
        note(&mut processes, 1, 1, Body::Mapped(mapping(0x1000, 0x3000, 0x100, b"/lib/old")));
        note(&mut processes, 1, 1, Body::Mapped(mapping(0x2000, 0x1000, 0, b"/lib/new (deleted)")));
        assert_eq!(at(&processes, 1, 0x1fff), Some(("old".to_owned(), 0x10ff)));
        assert_eq!(at(&processes, 1, 0x2000), Some(("new".to_owned(), 0)));
        assert_eq!(at(&processes, 1, 0x3000), Some(("old".to_owned(), 0x2100)));
        assert_eq!(at(&processes, 1, 0x4000), None);
        assert_eq!(at(&processes, 2, 0x2000), None);
    }

    #[test]
    fn a_child_has_what_its_parent_had_until_it_executes_something() {
        let mut processes = Processes::default();
        note(&mut processes, 1, 1, Body::Named { name: b"sh", is_exec: false });
        note(&mut processes, 1, 1, Body::Mapped(mapping(0x1000, 0x1000, 0, b"/bin/sh")));
        note(&mut processes, 2, 2, Body::Started { by_process: 1, by_thread: 1 });
        note(&mut processes, 1, 1, Body::Mapped(mapping(0x1000, 0x1000, 0, b"/bin/bash")));
        assert_eq!(at(&processes, 2, 0x1000).unwrap().0, "sh");
        assert_eq!(processes.name(2), b"sh");
        note(&mut processes, 2, 2, Body::Named { name: b"cat", is_exec: true });
        assert_eq!((at(&processes, 2, 0x1000), processes.name(2)), (None, &b"cat"[..]));
    }

    #[test]
    fn nothing_is_kept_of_the_dead() {
        let mut processes = Processes::default();
        note(&mut processes, 1, 1, Body::Named { name: b"a", is_exec: false });
        note(&mut processes, 1, 2, Body::Started { by_process: 1, by_thread: 1 });
        note(&mut processes, 1, 1, Body::Exited);
        assert!(processes.code(1).is_some());
        note(&mut processes, 1, 2, Body::Exited);
        assert!(processes.names.is_empty() && processes.processes.is_empty());
    }

    #[test]
    fn of_threads_one_is_left_when_it_executes_something() {
        let mut processes = Processes::default();
        note(&mut processes, 1, 1, Body::Named { name: b"a", is_exec: false });
        note(&mut processes, 1, 2, Body::Started { by_process: 1, by_thread: 1 });
        note(&mut processes, 1, 1, Body::Exited);
        note(&mut processes, 1, 1, Body::Named { name: b"b", is_exec: true });
        assert_eq!((processes.name(1), processes.name(2)), (&b"b"[..], &b"<...>"[..]));
        note(&mut processes, 1, 1, Body::Exited);
        assert!(processes.names.is_empty() && processes.processes.is_empty());
    }

    proptest! {
        #[test]
        fn any_mappings_are_survived(
            mappings in prop::collection::vec((0..9_u64, 0..9_u64, any::<u64>(), any::<bool>()), 0..20),
        ) {
            let mut processes = Processes::default();
            for (address, length, offset, is_high) in mappings {
                let address = if is_high { u64::MAX - address } else { address };
                note(&mut processes, 1, 1, Body::Mapped(mapping(address, length, offset, b"/lib/x")));
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

//! Who is to be traced, and who descends from them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use crate::Pid;
use crate::error::{Error, Result};
use crate::procfs::Procfs;

/// What of a process is traced. Threads share it with their process, whenever they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follow {
    /// What the process does itself.
    pub own: bool,
    /// What it forks, and all that descends from that.
    pub children: bool,
}

impl Follow {
    /// The process, all its living descendants, and all that they fork.
    pub const FAMILY: Follow = Follow { own: true, children: true };
    /// The process alone, and not what it forks.
    pub const ALONE: Follow = Follow { own: true, children: false };
    /// What the process forks, with all descendants, but not the process itself.
    pub const CHILDREN: Follow = Follow { own: false, children: true };
    /// Nothing.
    pub const NOTHING: Follow = Follow { own: false, children: false };

    /// What is traced of a process that this one forks.
    pub(crate) fn of_child(self) -> Follow {
        if self.children { Follow::FAMILY } else { Follow::NOTHING }
    }

    pub(crate) fn or(self, other: Follow) -> Follow {
        Follow { own: self.own || other.own, children: self.children || other.children }
    }
}

/// What a living thread has to do with the processes to be traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The process that it is a thread of.
    pub process: Pid,
    /// The process to be traced that this is, or descends from.
    pub root: Pid,
    /// What is traced of it.
    pub follow: Follow,
}

/// The processes to be traced, by their process ids (TGIDs).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    roots: BTreeMap<Pid, Follow>,
    except: BTreeSet<Pid>,
}

impl Targets {
    /// No processes.
    pub fn new() -> Targets {
        Targets::default()
    }

    /// Adds a process. One that is added twice is traced for both reasons.
    pub fn add(&mut self, process: Pid, follow: Follow) {
        let entry = self.roots.entry(process).or_insert(Follow::NOTHING);
        *entry = entry.or(follow);
    }

    /// These processes with all their descendants.
    pub fn families(processes: impl IntoIterator<Item = Pid>) -> Targets {
        let mut targets = Targets::new();
        for process in processes {
            targets.add(process, Follow::FAMILY);
        }
        targets
    }

    /// Leaves a process and its descendants out, where it is a descendant of a traced one.
    ///
    /// A tracer that was started by the process it traces would record itself recording, without end.
    pub fn except(&mut self, process: Pid) {
        self.except.insert(process);
    }

    /// What to say when none of them is alive.
    pub fn nobody_left(&self) -> Error {
        Error::NoTasksLeft { pids: self.roots.keys().copied().collect() }
    }

    /// Whether the kernel's own means do not suffice: it knows families only.
    pub(crate) fn need_filter(&self) -> bool {
        self.roots.values().any(|&follow| follow != Follow::FAMILY)
    }

    /// Whether the process is one that is left out.
    pub(crate) fn leave_out(&self, process: Pid) -> bool {
        self.except.contains(&process)
    }

    fn is_named(&self, process: Pid) -> bool {
        self.roots.contains_key(&process) || self.except.contains(&process)
    }

    pub(crate) fn follow_children(&self) -> bool {
        self.roots.values().any(|follow| follow.children)
    }

    /// The processes that are there now and followed in any way, those that have exited included as long as their
    /// parents have taken no notice. For those who record by process, and not in a tracing instance.
    ///
    /// # Errors
    ///
    /// [`Error::InnerNamespace`]: the ids in this procfs are not those of the kernel.
    pub fn processes(&self, procfs: &Path) -> Result<HashMap<Pid, Follow>> {
        let procfs = Procfs::at(procfs);
        if procfs.is_of_inner_namespace() {
            return Err(Error::InnerNamespace { procfs: procfs.root().to_path_buf() });
        }
        Ok(self.members(&procfs).into_values().map(|member| (member.process, member.follow)).collect())
    }

    /// All threads living now of all processes that are followed in any way, and what is traced of each.
    pub(crate) fn living(&self, procfs: &Procfs) -> HashMap<Pid, Follow> {
        self.members(procfs).into_iter().map(|(thread, member)| (thread, member.follow)).collect()
    }

    /// All threads living now of all processes that are followed in any way. A process that was
    /// added is followed as that says, whatever it descends from.
    pub fn members(&self, procfs: &Procfs) -> HashMap<Pid, Member> {
        let kin = self.follow_children().then(|| Kin::of(procfs));
        let mut threads = HashMap::new();
        let of_itself = |(&pid, &follow): (&Pid, &Follow)| Member { process: pid, root: pid, follow };
        let mut processes: Vec<Member> = self.roots.iter().map(of_itself).collect();
        while let Some(member) = processes.pop() {
            for thread in procfs.threads(member.process) {
                if threads.insert(thread, member).is_some() {
                    continue;
                }
                if let Some(kin) = kin.as_ref().filter(|_| member.follow.children) {
                    let children = kin.children(member.process, thread).into_iter();
                    let unlisted = children.filter(|child| !self.is_named(*child));
                    let follow = member.follow.of_child();
                    processes.extend(unlisted.map(|process| Member { process, follow, ..member }));
                }
            }
        }
        threads
    }
}

/// Whether any thread of a process is there and has not exited, as this procfs shows it.
pub fn is_alive(procfs: &Path, process: Pid) -> bool {
    let procfs = Procfs::at(procfs);
    procfs.is_alive(process) || procfs.threads(process).into_iter().any(|thread| procfs.is_alive(thread))
}

/// Who the children of a task are, by the cheapest way this kernel offers.
enum Kin<'p> {
    Listed(&'p Procfs),
    Gathered(HashMap<Pid, Vec<Pid>>),
}

impl Kin<'_> {
    fn of(procfs: &Procfs) -> Kin<'_> {
        if procfs.lists_children() { Kin::Listed(procfs) } else { Kin::Gathered(procfs.children_of_all()) }
    }

    /// Without the kernel's list, it is known of which process, not of which thread, one is the child.
    fn children(&self, process: Pid, thread: Pid) -> Vec<Pid> {
        match self {
            Kin::Listed(procfs) => procfs.children_of_thread(process, thread),
            Kin::Gathered(children) if process == thread => {
                children.get(&process).cloned().unwrap_or_default()
            }
            Kin::Gathered(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Follow as F;
    use super::*;
    use std::fs;
    use std::path::Path;

    /// A made-up procfs. 10 has threads 10 and 11, 11 has forked 20, 20 has forked 30.
    fn procfs(lists_children: bool) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        if lists_children {
            write(root.path(), "1/task/1/children", "");
        }
        for (process, thread, parent, children) in
            [(10, 10, 1, ""), (10, 11, 1, "20 "), (20, 20, 10, "30 "), (30, 30, 20, "")]
        {
            let task = format!("{process}/task/{thread}");
            write(root.path(), &format!("{task}/stat"), "");
            if lists_children {
                write(root.path(), &format!("{task}/children"), children);
            }
            let status = format!("State:\tS\nTgid:\t{process}\nPPid:\t{parent}\n");
            write(root.path(), &format!("{process}/status"), &status);
        }
        root
    }

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("directories");
        fs::write(path, text).expect("file");
    }

    fn living(targets: &[(Pid, Follow)]) -> HashMap<Pid, Follow> {
        let mut wanted = Targets::new();
        for &(pid, follow) in targets {
            wanted.add(pid, follow);
        }
        let [listed, gathered] = [true, false].map(|lists| {
            let root = procfs(lists);
            wanted.living(&Procfs::at(root.path()))
        });
        assert_eq!(listed, gathered);
        listed
    }

    #[test]
    fn a_family_is_all_threads_and_all_descendants() {
        let all = [(10, F::FAMILY), (11, F::FAMILY), (20, F::FAMILY), (30, F::FAMILY)];
        assert_eq!(living(&[(10, F::FAMILY)]), HashMap::from(all));
    }

    #[test]
    fn processes_are_told_without_their_threads() {
        let root = procfs(true);
        let processes = Targets::families([10]).processes(root.path()).expect("a procfs");
        assert_eq!(processes, HashMap::from([(10, F::FAMILY), (20, F::FAMILY), (30, F::FAMILY)]));
    }

    #[test]
    fn of_each_thread_it_is_known_whom_it_descends_from() {
        let root = procfs(true);
        let mut targets = Targets::families([10]);
        targets.add(30, F::ALONE);
        let members = targets.members(&Procfs::at(root.path()));
        let member = |process, root, follow| Member { process, root, follow };
        assert_eq!(members[&11], member(10, 10, F::FAMILY));
        assert_eq!(members[&20], member(20, 10, F::FAMILY));
        assert_eq!(members[&30], member(30, 30, F::ALONE));
    }

    #[test]
    fn alone_means_its_threads_only() {
        assert_eq!(living(&[(10, F::ALONE)]), HashMap::from([(10, F::ALONE), (11, F::ALONE)]));
    }

    #[test]
    fn children_come_with_all_their_descendants() {
        let all = [(10, F::CHILDREN), (11, F::CHILDREN), (20, F::FAMILY), (30, F::FAMILY)];
        assert_eq!(living(&[(10, F::CHILDREN)]), HashMap::from(all));
    }

    #[test]
    fn what_was_said_of_a_process_outweighs_what_it_descends_from() {
        let all = [(10, F::FAMILY), (11, F::FAMILY), (20, F::CHILDREN), (30, F::FAMILY)];
        assert_eq!(living(&[(10, F::FAMILY), (20, F::CHILDREN)]), HashMap::from(all));
    }

    #[test]
    fn who_is_left_out_is_left_out_with_all_descendants() {
        let root = procfs(true);
        let mut targets = Targets::families([10]);
        targets.except(20);
        let living = targets.living(&Procfs::at(root.path()));
        assert_eq!(living, HashMap::from([(10, F::FAMILY), (11, F::FAMILY)]));
    }

    #[test]
    fn two_reasons_add_up() {
        assert_eq!(living(&[(30, F::ALONE), (30, F::CHILDREN)]), HashMap::from([(30, F::FAMILY)]));
    }

    #[test]
    fn the_gone_are_left_out() {
        assert!(living(&[(99, F::FAMILY)]).is_empty());
    }
}

//! Which tasks are selected, and which descend from them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use crate::Pid;
use crate::cgroup::Cgroup;
use crate::error::{Error, Result};
use crate::procfs::Procfs;

/// What of a process is traced. Threads share it with their process, whenever they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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
    pub fn of_child(self) -> Follow {
        if self.children { Follow::FAMILY } else { Follow::NOTHING }
    }

    /// What is traced of a process that is selected for two reasons.
    pub fn or(self, other: Follow) -> Follow {
        Follow { own: self.own || other.own, children: self.children || other.children }
    }
}

/// A living thread of a selected process, or of a descendant of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The process that it is a thread of.
    pub process: Pid,
    /// The selected process that this is, or descends from.
    pub root: Pid,
    /// What is traced of it.
    pub follow: Follow,
}

impl Member {
    /// A thread of `process`, which is or descends from `root`.
    pub fn new(process: Pid, root: Pid, follow: Follow) -> Self {
        Self { process, root, follow }
    }
}

/// The processes to be traced: by their process ids (TGIDs), by cgroup, or all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelectedProcesses {
    roots: BTreeMap<Pid, Follow>,
    cgroups: Vec<Cgroup>,
    all: bool,
    excluded: BTreeSet<Pid>,
}

impl SelectedProcesses {
    /// No processes.
    pub fn new() -> SelectedProcesses {
        SelectedProcesses::default()
    }

    /// Adds a process. One that is added twice is traced for both reasons.
    pub fn add(&mut self, process: Pid, follow: Follow) {
        let entry = self.roots.entry(process).or_insert(Follow::NOTHING);
        *entry = entry.or(follow);
    }

    /// These processes with all their descendants.
    pub fn families(processes: impl IntoIterator<Item = Pid>) -> SelectedProcesses {
        let mut selection = SelectedProcesses::new();
        for process in processes {
            selection.add(process, Follow::FAMILY);
        }
        selection
    }

    /// Adds the processes of a cgroup.
    pub fn add_cgroup(&mut self, cgroup: Cgroup) {
        self.cgroups.push(cgroup);
    }

    /// Adds all processes.
    pub fn add_all(&mut self) {
        self.all = true;
    }

    /// The processes that were added one by one, without those of cgroups.
    pub fn without_cgroups(&self) -> SelectedProcesses {
        SelectedProcesses { cgroups: Vec::new(), ..self.clone() }
    }

    /// The cgroups whose processes were added.
    pub fn cgroups(&self) -> &[Cgroup] {
        &self.cgroups
    }

    /// Whether all processes were added.
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// Whether processes may join that do not descend from those that exist now, so that tracing can begin and go on without any.
    pub fn may_grow(&self) -> bool {
        self.all || self.cgroups.iter().any(Cgroup::exists)
    }

    /// The processes that are excluded.
    pub fn excluded(&self) -> impl Iterator<Item = Pid> + '_ {
        self.excluded.iter().copied()
    }

    /// Excludes a process and its descendants, where it is a descendant of a selected one.
    ///
    /// A tracer that was started by the process it traces would record its own recording, without end.
    pub fn exclude(&mut self, process: Pid) {
        self.excluded.insert(process);
    }

    /// The error to report when no selected task is alive.
    pub fn none_left(&self) -> Error {
        Error::NoTasksLeft { pids: self.roots.keys().copied().collect() }
    }

    /// Whether processes that start must be observed: a filter that adds all descendants of the selected processes, and knows no
    /// exclusion, would not do.
    pub fn needs_new_tasks(&self) -> bool {
        self.all || self.roots.values().any(|&follow| follow != Follow::FAMILY)
    }

    /// Whether the process is excluded.
    pub fn excludes(&self, process: Pid) -> bool {
        self.excluded.contains(&process)
    }

    /// Whether the children of any selected process are traced.
    pub fn follows_children(&self) -> bool {
        self.all || !self.cgroups.is_empty() || self.roots.values().any(|follow| follow.children)
    }

    /// The processes that exist now and are followed in any way, including zombies. For sessions that select by process
    /// and not in a tracing instance.
    ///
    /// # Errors
    ///
    /// [`Error::InnerNamespace`]: the pids in this procfs are not those of the kernel.
    pub fn processes(&self, procfs: &Path) -> Result<HashMap<Pid, Follow>> {
        let procfs = Procfs::of_initial_namespace(procfs)?;
        Ok(self.members(&procfs).into_values().map(|member| (member.process, member.follow)).collect())
    }

    /// All living threads of all processes that are followed in any way. A process that was added itself is followed as it
    /// was added, whatever it descends from.
    pub fn members(&self, procfs: &Procfs) -> HashMap<Pid, Member> {
        let children = self.follows_children().then(|| Children::of(procfs));
        let mut threads = HashMap::new();
        let mut processes = self.root_members(procfs);
        while let Some(member) = processes.pop() {
            for thread in procfs.threads(member.process) {
                if threads.insert(thread, member).is_some() {
                    continue;
                }
                if let Some(children) = children.as_ref().filter(|_| member.follow.children && !self.all) {
                    let children = children.of_thread(member.process, thread).into_iter();
                    let unlisted = children.filter(|child| !self.names(*child));
                    let follow = member.follow.of_child();
                    processes.extend(unlisted.map(|process| Member { process, follow, ..member }));
                }
            }
        }
        threads
    }

    /// The processes that are selected themselves, and not as descendants.
    fn root_members(&self, procfs: &Procfs) -> Vec<Member> {
        let mut roots: BTreeMap<Pid, Follow> = BTreeMap::new();
        let joined = self.cgroups.iter().flat_map(Cgroup::processes);
        let any = self.all.then(|| procfs.processes()).into_iter().flatten();
        for process in joined.chain(any).filter(|process| !self.excludes(*process)) {
            roots.insert(process, Follow::FAMILY);
        }
        for (process, follow) in &self.roots {
            let entry = roots.entry(*process).or_insert(Follow::NOTHING);
            *entry = entry.or(*follow);
        }
        roots.into_iter().map(|(process, follow)| Member::new(process, process, follow)).collect()
    }

    /// The living threads of the processes in the selected cgroups; of all processes, if all are selected.
    pub fn members_of_cgroups(&self, procfs: &Procfs) -> HashMap<Pid, Member> {
        let wide = SelectedProcesses { roots: BTreeMap::new(), ..self.clone() };
        let mut threads = HashMap::new();
        for member in wide.root_members(procfs) {
            threads.extend(procfs.threads(member.process).into_iter().map(|thread| (thread, member)));
        }
        threads
    }

    fn names(&self, process: Pid) -> bool {
        self.roots.contains_key(&process) || self.excluded.contains(&process)
    }
}

/// Whether any thread of a process exists and has not exited, as this procfs shows it.
pub fn is_alive(procfs: &Path, process: Pid) -> bool {
    let procfs = Procfs::at(procfs);
    procfs.is_alive(process) || procfs.threads(process).into_iter().any(|thread| procfs.is_alive(thread))
}

/// The children of tasks, found in the cheapest way that this kernel offers.
enum Children<'p> {
    /// The kernel lists them.
    Listed(&'p Procfs),
    /// By parent, gathered from all processes.
    Gathered(HashMap<Pid, Vec<Pid>>),
}

impl Children<'_> {
    fn of(procfs: &Procfs) -> Children<'_> {
        match procfs.lists_children() {
            true => Children::Listed(procfs),
            false => Children::Gathered(procfs.children_of_all()),
        }
    }

    /// Without the kernel's list only the parent process is known, not the parent thread.
    fn of_thread(&self, process: Pid, thread: Pid) -> Vec<Pid> {
        match self {
            Children::Listed(procfs) => procfs.children_of_thread(process, thread),
            Children::Gathered(children) if process == thread => {
                children.get(&process).cloned().unwrap_or_default()
            }
            Children::Gathered(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Follow as F;
    use super::*;
    use std::fs;
    use std::path::Path;

    /// A synthetic procfs. 10 has threads 10 and 11, 11 has forked 20, 20 has forked 30.
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

    fn living(selected: &[(Pid, Follow)]) -> HashMap<Pid, Follow> {
        let mut selection = SelectedProcesses::new();
        for &(pid, follow) in selected {
            selection.add(pid, follow);
        }
        let [listed, gathered] = [true, false].map(|lists| {
            let root = procfs(lists);
            threads(&selection, root.path())
        });
        assert_eq!(listed, gathered);
        listed
    }

    fn threads(selection: &SelectedProcesses, root: &Path) -> HashMap<Pid, Follow> {
        let members = selection.members(&Procfs::at(root));
        members.into_iter().map(|(thread, member)| (thread, member.follow)).collect()
    }

    #[test]
    fn a_family_is_all_threads_and_all_descendants() {
        let all = [(10, F::FAMILY), (11, F::FAMILY), (20, F::FAMILY), (30, F::FAMILY)];
        assert_eq!(living(&[(10, F::FAMILY)]), HashMap::from(all));
    }

    #[test]
    fn processes_come_without_their_threads() {
        let root = procfs(true);
        let processes = SelectedProcesses::families([10]).processes(root.path()).expect("a procfs");
        assert_eq!(processes, HashMap::from([(10, F::FAMILY), (20, F::FAMILY), (30, F::FAMILY)]));
    }

    #[test]
    fn each_thread_knows_the_selected_process_it_descends_from() {
        let root = procfs(true);
        let mut selection = SelectedProcesses::families([10]);
        selection.add(30, F::ALONE);
        let members = selection.members(&Procfs::at(root.path()));
        let member = Member::new;
        assert_eq!(members[&11], member(10, 10, F::FAMILY));
        assert_eq!(members[&20], member(20, 10, F::FAMILY));
        assert_eq!(members[&30], member(30, 30, F::ALONE));
    }

    #[test]
    fn alone_selects_only_the_threads_of_a_process() {
        assert_eq!(living(&[(10, F::ALONE)]), HashMap::from([(10, F::ALONE), (11, F::ALONE)]));
    }

    #[test]
    fn children_come_with_all_their_descendants() {
        let all = [(10, F::CHILDREN), (11, F::CHILDREN), (20, F::FAMILY), (30, F::FAMILY)];
        assert_eq!(living(&[(10, F::CHILDREN)]), HashMap::from(all));
    }

    #[test]
    fn a_selected_process_is_followed_as_selected_not_as_a_descendant() {
        let all = [(10, F::FAMILY), (11, F::FAMILY), (20, F::CHILDREN), (30, F::FAMILY)];
        assert_eq!(living(&[(10, F::FAMILY), (20, F::CHILDREN)]), HashMap::from(all));
    }

    #[test]
    fn exclusion_covers_all_descendants() {
        let root = procfs(true);
        let mut selection = SelectedProcesses::families([10]);
        selection.exclude(20);
        assert_eq!(threads(&selection, root.path()), HashMap::from([(10, F::FAMILY), (11, F::FAMILY)]));
    }

    #[test]
    fn selecting_a_process_twice_combines_both() {
        assert_eq!(living(&[(30, F::ALONE), (30, F::CHILDREN)]), HashMap::from([(30, F::FAMILY)]));
    }

    #[test]
    fn processes_that_are_gone_are_left_out() {
        assert!(living(&[(99, F::FAMILY)]).is_empty());
    }
}

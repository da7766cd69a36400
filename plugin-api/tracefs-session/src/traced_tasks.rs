//! Which records pass, where the kernel's own task set lets pass too many.
//!
//! With event-fork on, the kernel records whole families: the tasks it was given and all that they
//! start. It cannot record a process without its children, nor children without their parent. This
//! filter can. It watches the records of `task:task_newtask`, each of which comes before
//! the first record of the new task and tells by its clone flags whether that is a thread or a
//! process.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::path::Path;

use trace_hook_api::log;
use trace_tasks::{Follow, Member, Pid, Procfs, TaskSelection};
use tracefs::{Instance, PidFilter};

/// The clone flag of a new thread, as against a new process (clone(2)).
const CLONE_THREAD: u64 = 0x0001_0000;

/// Prune only when the table is worth it.
const SMALLEST_PRUNED: usize = 4096;

/// Tells which records of a session are those of the targets. All records must be shown to it, in
/// the order in which they come out of the ring buffer.
///
/// A task it has never heard of (the record of its start was lost, or it started between the
/// choice of tasks and the start of recording) is looked up in procfs. If it is gone from there,
/// too, it is taken for a child: its records pass if anybody's children are followed, else they
/// do not.
#[derive(Debug)]
pub struct TracedTasks {
    procfs: Procfs,
    selection: TaskSelection,
    drops_any: bool,
    known: HashMap<Pid, Follow>,
    /// The processes of those who were there when the tasks were chosen.
    processes: HashMap<Pid, Pid>,
    /// Tasks that were looked up and are not of the targets. Whoever gets their numbers later is announced.
    strangers: HashSet<Pid>,
    /// Tasks that were gone when the ring buffer was last found empty.
    gone: HashSet<Pid>,
    prune_at: usize,
}

impl TracedTasks {
    fn new(procfs: Procfs, selection: TaskSelection, members: HashMap<Pid, Member>) -> TracedTasks {
        let prune_at = next_pruning(members.len());
        let drops_any = !selection.is_families();
        TracedTasks {
            procfs,
            selection,
            drops_any,
            known: members.iter().map(|(task, member)| (*task, member.follow)).collect(),
            processes: members.into_iter().map(|(task, member)| (task, member.process)).collect(),
            strangers: HashSet::new(),
            gone: HashSet::new(),
            prune_at,
        }
    }

    /// Whether there are records that do not pass. Of whole families the kernel records no others.
    pub fn drops_any(&self) -> bool {
        self.drops_any
    }

    /// Looks once more at who is there. Call it right after recording was started: what was
    /// started since the tasks were chosen has left no record.
    pub fn rescan(&mut self) {
        // Nothing depends on it otherwise, and somebody waits for the session to start.
        if !self.drops_any {
            return;
        }
        for (task, member) in self.selection.members(&self.procfs) {
            self.known.entry(task).or_insert(member.follow);
        }
    }

    /// Takes note of a record of `task:task_newtask`.
    pub fn new_task(&mut self, creator: Pid, new: Pid, clone_flags: u64) {
        let creators = self.follow(creator);
        let is_thread = clone_flags & CLONE_THREAD != 0;
        self.known.insert(new, if is_thread { creators } else { creators.of_child() });
        self.gone.remove(&new);
        self.strangers.remove(&new);
    }

    /// Whether a record made by this task passes.
    pub fn keeps(&mut self, task: Pid) -> bool {
        self.follow(task).own
    }

    /// Whether a task that a record names is one whose events are wanted. It need not have made a record.
    pub fn is_target(&mut self, task: Pid) -> bool {
        if let Some(follow) = self.known.get(&task) {
            return follow.own;
        }
        if self.strangers.contains(&task) {
            return false;
        }
        let Some(follow) = self.related(task) else {
            self.strangers.insert(task);
            return false;
        };
        self.known.insert(task, follow);
        follow.own
    }

    /// Which processes those are threads of who were there when the tasks were chosen. Told once.
    pub fn take_processes(&mut self) -> HashMap<Pid, Pid> {
        mem::take(&mut self.processes)
    }

    /// The tasks that are known to be wanted.
    pub fn wanted(&self) -> impl Iterator<Item = Pid> + '_ {
        self.known.iter().filter(|(_, follow)| follow.own).map(|(task, _)| *task)
    }

    /// Whether a record that is about several tasks passes. The kernel records `sched_switch`,
    /// `sched_wakeup`, `sched_wakeup_new` and `sched_waking` also when they are made by a task that
    /// nobody asked for, but are about one that somebody did.
    pub fn keeps_any(&mut self, tasks: &[Pid]) -> bool {
        tasks.iter().any(|&task| self.is_target(task))
    }

    /// Whether the task, or what it may yet start, matters.
    pub fn follows(&self, task: Pid) -> bool {
        self.related(task).unwrap_or(self.stranger()) != Follow::NOTHING
    }

    /// To be called whenever all has been shown that was in the ring buffer at some time since the call before: only then it
    /// is certain that no more records of a task can turn up that was gone at that call, and it can be forgotten.
    pub fn caught_up(&mut self) {
        for task in self.gone.drain() {
            self.known.remove(&task);
        }
        if self.strangers.len() >= SMALLEST_PRUNED {
            self.strangers.clear();
        }
        if self.known.len() >= self.prune_at {
            self.gone = self.known.keys().copied().filter(|&task| !self.procfs.exists(task)).collect();
            self.prune_at = next_pruning(self.known.len() - self.gone.len());
        }
    }

    fn follow(&mut self, task: Pid) -> Follow {
        if let Some(&follow) = self.known.get(&task) {
            return follow;
        }
        let follow = self.related(task).unwrap_or(self.stranger());
        log::debug!("task {task} was never announced; taken for {follow:?}");
        self.known.insert(task, follow);
        follow
    }

    /// What is known of a task, or can be told by its process or its parent.
    fn related(&self, task: Pid) -> Option<Follow> {
        if let Some(&follow) = self.known.get(&task) {
            return Some(follow);
        }
        let status = self.procfs.status(task)?;
        if self.selection.excludes(status.process) {
            return None;
        }
        let process = self.known.get(&status.process).copied();
        process.or_else(|| self.known.get(&status.parent).map(|parent| parent.of_child()))
    }

    fn stranger(&self) -> Follow {
        if self.selection.follows_children() { Follow::FAMILY } else { Follow::NOTHING }
    }
}

/// Chooses the tasks of an instance, and begins to follow them where the kernel announces new ones.
///
/// # Errors
///
/// See [`Instance::choose_tasks`].
pub fn choose_tasks(
    instance: &Instance,
    procfs: &Path,
    selection: &TaskSelection,
) -> tracefs::Result<(PidFilter, Option<TracedTasks>)> {
    let (filter, members) = instance.choose_tasks(procfs, selection)?;
    let follow = || TracedTasks::new(Procfs::at(procfs), selection.clone(), members);
    Ok((filter, instance.has_new_task_event().then(follow)))
}

/// Whether any task in the kernel's filter is alive that is followed, if only for the children it may fork.
///
/// # Errors
///
/// The kernel's filter cannot be read.
pub fn any_alive(filter: &PidFilter, traced: Option<&TracedTasks>) -> tracefs::Result<bool> {
    filter.any_alive_of(|task| traced.is_none_or(|traced| traced.follows(task)))
}

fn next_pruning(known: usize) -> usize {
    (known * 2).max(SMALLEST_PRUNED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    struct Scene {
        root: tempfile::TempDir,
        filter: TracedTasks,
    }

    /// A filter with process 10 (threads 10 and 11) as its only target, in a procfs where there is nobody.
    fn scene(follow: Follow) -> Scene {
        let root = tempfile::tempdir().expect("a temporary directory");
        let mut selection = TaskSelection::new();
        selection.add(10, follow);
        let member = Member::new(10, 10, follow);
        let members = HashMap::from([(10, member), (11, member)]);
        let filter = TracedTasks::new(Procfs::at(root.path()), selection, members);
        Scene { root, filter }
    }

    impl Scene {
        fn appears(&self, task: Pid, process: Pid, parent: Pid) {
            let dir = self.root.path().join(task.to_string());
            fs::create_dir_all(&dir).expect("directory");
            let status = format!("Name:\tx\nState:\tR (running)\nTgid:\t{process}\nPPid:\t{parent}\n");
            fs::write(dir.join("status"), status).expect("status");
        }

        fn vanishes(&self, task: Pid) {
            fs::remove_dir_all(self.root.path().join(task.to_string())).expect("task");
        }
    }

    const FORK: u64 = 0x0120_0000;
    const THREAD: u64 = 0x003d_0f00;

    #[test]
    fn alone_keeps_later_threads_and_drops_children() {
        let Scene { mut filter, root: _root } = scene(Follow::ALONE);
        filter.new_task(11, 12, THREAD);
        filter.new_task(12, 20, FORK);
        filter.new_task(20, 21, THREAD);
        filter.new_task(20, 30, FORK);
        assert!([10, 11, 12].iter().all(|&task| filter.keeps(task)));
        assert!([20, 21, 30].iter().all(|&task| !filter.keeps(task) && !filter.follows(task)));
    }

    #[test]
    fn children_mutes_the_parent_with_its_later_threads() {
        let Scene { mut filter, root: _root } = scene(Follow::CHILDREN);
        filter.new_task(10, 12, THREAD);
        filter.new_task(12, 20, FORK);
        filter.new_task(20, 21, THREAD);
        filter.new_task(21, 30, FORK);
        assert!([10, 11, 12].iter().all(|&task| !filter.keeps(task) && filter.follows(task)));
        assert!([20, 21, 30].iter().all(|&task| filter.keeps(task)));
    }

    #[test]
    fn a_number_used_again_means_the_new_task() {
        let Scene { mut filter, root: _root } = scene(Follow::ALONE);
        filter.new_task(10, 12, THREAD);
        assert!(filter.keeps(12));
        filter.new_task(10, 12, FORK);
        assert!(!filter.keeps(12));
    }

    #[test]
    fn the_unannounced_are_looked_up() {
        let mut alone = scene(Follow::ALONE);
        alone.appears(12, 10, 1);
        alone.appears(20, 20, 10);
        assert!(alone.filter.keeps(12));
        assert!(!alone.filter.keeps(20));

        let mut children = scene(Follow::CHILDREN);
        children.appears(12, 10, 1);
        children.appears(20, 20, 10);
        assert!(!children.filter.keeps(12));
        assert!(children.filter.keeps(20));
    }

    #[test]
    fn the_unannounced_and_gone_are_taken_for_children() {
        assert!(!scene(Follow::ALONE).filter.keeps(77));
        assert!(scene(Follow::CHILDREN).filter.keeps(77));
    }

    #[test]
    fn wakeups_by_strangers_pass_if_they_are_about_one_of_ours() {
        let mut scene = scene(Follow::CHILDREN);
        scene.appears(500, 500, 1);
        scene.filter.new_task(10, 20, FORK);
        assert!(scene.filter.keeps_any(&[500, 20]));
        assert!(!scene.filter.keeps_any(&[500, 10]));
        assert!(!scene.filter.keeps_any(&[0, 11]));
    }

    #[test]
    fn a_task_that_is_only_named_is_a_target_or_not() {
        let mut scene = scene(Follow::FAMILY);
        scene.filter.selection.exclude(30);
        scene.appears(20, 20, 10);
        scene.appears(30, 30, 10);
        scene.appears(40, 40, 1);
        scene.filter.new_task(10, 12, THREAD);
        let mut are_targets =
            |tasks: &[Pid]| tasks.iter().map(|task| scene.filter.is_target(*task)).collect::<Vec<_>>();
        assert_eq!(are_targets(&[10, 12, 20]), [true; 3]);
        assert_eq!(are_targets(&[0, 30, 40, 50]), [false; 4]);
        scene.filter.new_task(10, 50, FORK);
        assert!(scene.filter.is_target(50), "the number has a new owner");
    }

    #[test]
    fn a_rescan_learns_of_new_threads_and_forgets_nothing() {
        let mut scene = scene(Follow::ALONE);
        fs::create_dir_all(scene.root.path().join("10/task/15")).expect("thread");
        scene.filter.rescan();
        assert!(scene.filter.keeps(15));
        assert!(scene.filter.keeps(11));
    }

    #[test]
    fn the_gone_are_forgotten_only_when_their_records_have_been_read() {
        let mut scene = scene(Follow::CHILDREN);
        scene.appears(10, 10, 1);
        scene.appears(11, 10, 1);
        for thread in 0..SMALLEST_PRUNED as Pid {
            scene.filter.new_task(10, 1000 + thread, THREAD);
        }
        scene.appears(1000, 10, 1);
        scene.filter.caught_up();
        assert!(!scene.filter.keeps(1001), "what it left in the buffer is still the parent's");
        scene.filter.new_task(10, 1002, FORK);
        scene.filter.caught_up();
        assert_eq!(scene.filter.known.len(), 4);
        assert!(!scene.filter.keeps(1000));
        assert!(scene.filter.keeps(1002));
        scene.vanishes(10);
    }

    proptest! {
        /// Whatever happens, a task is kept exactly if a plain model of processes says so.
        #[test]
        fn follows_the_model(children in any::<bool>(), steps in prop::collection::vec((0usize..50, any::<bool>()), 1..100)) {
            let follow = if children { Follow::CHILDREN } else { Follow::ALONE };
            let Scene { mut filter, root: _root } = scene(follow);
            let mut tasks = vec![(10, true), (11, true)];
            for (index, (creator, thread)) in steps.into_iter().enumerate() {
                let (creator, of_target) = tasks[creator % tasks.len()];
                let new = 100 + index as Pid;
                filter.new_task(creator, new, if thread { THREAD } else { FORK });
                tasks.push((new, of_target && thread));
            }
            for (task, of_target) in tasks {
                prop_assert_eq!(filter.keeps(task), of_target != children);
            }
        }
    }
}

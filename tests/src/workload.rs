use std::fmt::Display;
use std::io::{BufRead, BufReader, Lines, Write};
use std::ops::Deref;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::built;

/// A process to trace, that does what it is told. Dropping it kills it, and all that it made.
///
/// It is its own main task: `workload.calls(3)`.
pub struct Workload {
    main: Task,
    process: Child,
}

/// A thread or a process of a [`Workload`].
#[derive(Clone)]
pub struct Task {
    id: u32,
    /// The tasks to pass a command through to reach this one, and itself.
    route: Vec<u32>,
    conversation: Arc<Mutex<Conversation>>,
}

/// What is said to the workload, and what it answers.
struct Conversation {
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// How many answers nobody has waited for yet.
    owed: usize,
}

impl Workload {
    /// Starts it, with one process of one thread.
    pub fn start() -> Self {
        let workload = Self::begin(Command::new(built("workload")));
        assert_eq!(workload.id(), workload.process_id());
        workload
    }

    /// Starts it by a shell script, whose `$0` is the workload to execute in the end.
    pub fn started_by(script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-e", "-c", script]).arg(built("workload"));
        Self::begin(command)
    }

    fn begin(mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the workload can be started");
        let commands = process.stdin.take().expect("it was asked for");
        let answers = BufReader::new(process.stdout.take().expect("it was asked for")).lines();
        let mut conversation = Conversation { commands, answers, owed: 1 };
        let id = conversation.answer().parse().expect("it begins with its id");
        let main = Task { id, route: Vec::new(), conversation: Arc::new(Mutex::new(conversation)) };
        Self { main, process }
    }

    /// The process that was started, which its main task may be a child of.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it, with all that it made.
    pub fn exits(mut self) {
        self.kill();
    }

    /// Ends it, but keeps it as a zombie.
    pub fn becomes_a_zombie(&mut self) {
        let _ = self.process.kill();
        let pid = Pid::from_raw(self.id().cast_signed());
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("it is our child");
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Deref for Workload {
    type Target = Task;

    fn deref(&self) -> &Task {
        &self.main
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Task {
    /// Its id, as the kernel knows it; for the first task of a process, the process id as well.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Makes it call `getppid` this many times, and waits until it has.
    pub fn calls(&self, count: usize) {
        self.tell(&format!("calls {count}"));
    }

    /// Makes it call `getppid` this many times, and does not wait. The next command to any task of the workload does.
    pub fn begins_to_call(&self, count: usize) {
        self.conversation().command(&self.addressed(&format!("calls {count}")));
    }

    /// Makes it leave this many marks, numbered from `first` on, and waits until it has. Each is a call of `getsid`:
    /// `sys_getsid(pid: 0x1f)` is the mark 31.
    pub fn marks(&self, first: usize, count: usize) {
        self.tell(&format!("marks {first} {count}"));
    }

    /// Makes it leave marks, and does not wait. The next command to any task of the workload does.
    pub fn begins_to_mark(&self, first: usize, count: usize) {
        self.conversation().command(&self.addressed(&format!("marks {first} {count}")));
    }

    /// Makes it call so many numbers that no system call has, and waits until it has.
    pub fn invents(&self, count: usize) {
        self.tell(&format!("invent {count}"));
    }

    /// Makes it take this much CPU time, and waits until it has: three quarters of it in `spend_three`, the rest in
    /// `spend_one`.
    pub fn spends(&self, milliseconds: u64) {
        self.tell(&format!("spend {milliseconds}"));
    }

    /// Gives it another name.
    pub fn is_called(&self, name: &str) {
        let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.tell(&format!("name {hex}"));
    }

    /// Has it run on this CPU only, and whatever it makes from now on.
    pub fn stays_on(&self, cpu: u32) {
        let mut only = CpuSet::new();
        only.set(cpu as usize).expect("there is such a CPU");
        sched_setaffinity(Pid::from_raw(self.id.cast_signed()), &only).expect("it is our task");
    }

    /// Makes it write to this many pages of new memory, one by one, which it keeps; the address of the first.
    pub fn touches(&self, pages: usize) -> u64 {
        let first = self.tell(&format!("touch {pages}"));
        u64::from_str_radix(&first, 16).expect("an address is a number")
    }

    /// Makes it write to a page of new memory from this many places in code of its own making, and give the page back each
    /// time.
    pub fn scatters(&self, places: usize) {
        self.tell(&format!("scatter {places}"));
    }

    /// Makes it start a thread.
    pub fn thread(&self) -> Task {
        self.member("thread")
    }

    /// Makes it fork a child.
    pub fn child(&self) -> Task {
        self.member("child")
    }

    /// Makes it fork this many children, each of which calls `getppid` once and exits; their ids.
    pub fn storm(&self, count: usize) -> Vec<u32> {
        let ids = self.tell(&format!("storm {count}"));
        ids.split_whitespace().map(|id| id.parse().expect("an id is a number")).collect()
    }

    /// Makes it execute `echo`, in the place of its whole process, and waits until that has answered.
    pub fn becomes_an_echo(&self) {
        self.tell("echo");
    }

    /// Makes it do something with the network, and waits until it has; its answer. `bin/workload/sockets.rs` tells what it
    /// can do.
    pub fn network(&self, command: impl Display) -> String {
        self.tell(&format!("network {command}"))
    }

    /// Makes one of the tasks that it made exit.
    pub fn lets_go(&self, member: &Task) {
        self.tell(&format!("leave {}", member.id));
    }

    fn member(&self, kind: &str) -> Task {
        let id = self.tell(kind).parse().expect("an id is a number");
        let route = self.route.iter().copied().chain([id]).collect();
        Task { id, route, conversation: Arc::clone(&self.conversation) }
    }

    fn tell(&self, command: &str) -> String {
        let mut conversation = self.conversation();
        conversation.command(&self.addressed(command));
        conversation.answer()
    }

    fn addressed(&self, command: &str) -> String {
        self.route.iter().rev().fold(command.to_owned(), |command, id| format!("in {id} {command}"))
    }

    fn conversation(&self) -> MutexGuard<'_, Conversation> {
        self.conversation.lock().expect("nobody panics here")
    }
}

impl Conversation {
    fn command(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("the workload listens");
        self.owed += 1;
    }

    /// The answer to the last command.
    fn answer(&mut self) -> String {
        let answer = self.answers.nth(self.owed - 1).expect("the workload answers").expect("in plain text");
        self.owed = 0;
        answer
    }
}

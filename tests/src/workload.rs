use std::fmt::Display;
use std::io::{BufRead, BufReader, Lines, Write};
use std::ops::Deref;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::built;

/// A traced process that takes commands. Dropping it kills it and all its descendants.
///
/// It dereferences to its main task: `workload.calls(3)`.
pub struct Workload {
    main: Task,
    process: Child,
}

/// A thread or a process of a [`Workload`].
#[derive(Clone)]
pub struct Task {
    id: u32,
    /// The path of tasks that a command takes to reach this one, itself included.
    route: Vec<u32>,
    conversation: Arc<Mutex<Conversation>>,
}

/// The commands to the workload, and its answers.
struct Conversation {
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// The number of answers that have not been read yet.
    owed: usize,
}

impl Workload {
    /// Starts it, with one process of one thread.
    pub fn start() -> Self {
        let workload = Self::begin(Command::new(built("workload")));
        assert_eq!(workload.id(), workload.process_id());
        workload
    }

    /// Starts it by a shell script, which executes the workload as `$0`.
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
        let commands = process.stdin.take().expect("it is a pipe");
        let answers = BufReader::new(process.stdout.take().expect("it is a pipe")).lines();
        let mut conversation = Conversation { commands, answers, owed: 1 };
        let id = conversation.answer().parse().expect("the first answer is the pid");
        let main = Task { id, route: Vec::new(), conversation: Arc::new(Mutex::new(conversation)) };
        Self { main, process }
    }

    /// The process that was started. The main task may be a child of it.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it and all its descendants.
    pub fn exits(mut self) {
        self.kill();
    }

    /// Ends it, but keeps it as a zombie.
    pub fn becomes_a_zombie(&mut self) {
        let _ = self.process.kill();
        let pid = Pid::from_raw(self.id().cast_signed());
        waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("it is a child of the test");
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
    /// Its tid, which is the process id for the main task of a process.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Makes it call `getppid` this many times, and waits until it has.
    pub fn calls(&self, count: usize) {
        self.send(&format!("calls {count}"));
    }

    /// Makes it call `getppid` this many times without waiting. The next command to any task of the workload waits.
    pub fn begins_to_call(&self, count: usize) {
        self.conversation().command(&self.addressed(&format!("calls {count}")));
    }

    /// Makes it emit this many marks, numbered from `first`, and waits until it has. Each is a call of `getsid`:
    /// `sys_getsid(pid: 0x1f)` is the mark 31.
    pub fn marks(&self, first: usize, count: usize) {
        self.send(&format!("marks {first} {count}"));
    }

    /// Makes it emit marks without waiting. The next command to any task of the workload waits.
    pub fn begins_to_mark(&self, first: usize, count: usize) {
        self.conversation().command(&self.addressed(&format!("marks {first} {count}")));
    }

    /// Makes it call this many numbers that are not system calls, and waits until it has.
    pub fn invents(&self, count: usize) {
        self.send(&format!("invent {count}"));
    }

    /// Makes it use this much CPU time, and waits until it has: three quarters of it in `spend_three`, the rest in
    /// `spend_one`.
    pub fn spends(&self, milliseconds: u64) {
        self.send(&format!("spend {milliseconds}"));
    }

    /// Makes it sleep this many times, for a millisecond each.
    pub fn sleeps(&self, count: usize) {
        self.send(&format!("sleeps {count}"));
    }

    /// Makes it open a file this many times.
    pub fn opens(&self, path: &Path, count: usize) {
        self.send(&format!("opens {count} {}", path.display()));
    }

    /// Makes it write this many blocks of 4 KiB to a device, one by one and without the page cache.
    pub fn writes(&self, first: usize, count: usize, device: &Path) {
        self.send(&format!("writes {first} {count} {}", device.display()));
    }

    /// Makes it write this text, without zeroes, to a file that exists, in one call.
    pub fn writes_text(&self, text: &[u8], path: &Path) {
        self.send(&format!("text {} {}", hex(text), path.display()));
    }

    /// Changes its name.
    pub fn is_called(&self, name: &str) {
        self.send(&format!("name {}", hex(name.as_bytes())));
    }

    /// Binds it, and the tasks that it creates from now on, to this CPU.
    pub fn stays_on(&self, cpu: u32) {
        let mut only = CpuSet::new();
        only.set(cpu as usize).expect("a valid CPU");
        sched_setaffinity(Pid::from_raw(self.id.cast_signed()), &only).expect("the task is running");
    }

    /// Makes it write to this many pages of new memory, one by one, and keep them; returns the address of the first.
    pub fn touches(&self, pages: usize) -> u64 {
        let first = self.send(&format!("touch {pages}"));
        u64::from_str_radix(&first, 16).expect("an address is a number")
    }

    /// Makes it write to a page of new memory from this many addresses in generated code, and free the page each time.
    pub fn scatters(&self, places: usize) {
        self.send(&format!("scatter {places}"));
    }

    /// Makes it start a thread.
    pub fn thread(&self) -> Task {
        self.member("thread")
    }

    /// Makes it fork a child.
    pub fn child(&self) -> Task {
        self.member("child")
    }

    /// Makes it fork this many children, each of which calls `getppid` once and exits; returns their ids.
    pub fn storm(&self, count: usize) -> Vec<u32> {
        let ids = self.send(&format!("storm {count}"));
        ids.split_whitespace().map(|id| id.parse().expect("an id is a number")).collect()
    }

    /// Makes it start a child with the pid of a process that has ended, and waits until it exits. The child emits this many
    /// marks, numbered from 0, one a millisecond.
    pub fn reuses(&self, pid: u32, marks: usize) {
        self.send(&format!("as {pid} {marks}"));
    }

    /// Makes its process execute `echo`, and waits until that has answered.
    pub fn becomes_an_echo(&self) {
        self.send("echo");
    }

    /// Makes it run a network command, and returns the answer. `bin/workload/sockets.rs` documents the commands.
    pub fn network(&self, command: impl Display) -> String {
        self.send(&format!("network {command}"))
    }

    /// Ends one of its child tasks.
    pub fn ends_child(&self, member: &Task) {
        self.send(&format!("end {}", member.id));
    }

    fn member(&self, kind: &str) -> Task {
        let id = self.send(kind).parse().expect("an id is a number");
        let route = self.route.iter().copied().chain([id]).collect();
        Task { id, route, conversation: Arc::clone(&self.conversation) }
    }

    fn send(&self, command: &str) -> String {
        let mut conversation = self.conversation();
        conversation.command(&self.addressed(command));
        conversation.answer()
    }

    fn addressed(&self, command: &str) -> String {
        self.route.iter().rev().fold(command.to_owned(), |command, id| format!("in {id} {command}"))
    }

    fn conversation(&self) -> MutexGuard<'_, Conversation> {
        self.conversation.lock().expect("no holder of the lock panics")
    }
}

impl Conversation {
    fn command(&mut self, command: &str) {
        writeln!(self.commands, "{command}").expect("the workload reads commands");
        self.owed += 1;
    }

    /// The answer to the last command.
    fn answer(&mut self) -> String {
        let answer = self.answers.nth(self.owed - 1).expect("the workload answers").expect("it is text");
        self.owed = 0;
        answer
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

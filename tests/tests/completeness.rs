//! Every event is delivered or counted as lost in its place, whatever the reader does, however fast the traced task is,
//! and whatever resource is exhausted. Needs root and tracefs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use system_tests::{
    Call, Ended, Event, Kernel, Log, Loss, Manager, OfflineCpu, PATIENCE, Plugins, Reader, Session, Summary,
    Task, Workload, cpus, eventually, lock_out_sweeps, skip, wait_until,
};

fn manager() -> Manager {
    Manager::with(Plugins::of(["ftrace"]))
}

/// A run that records the marks of a task, and logs a summary at the end.
fn run<'a>(manager: &'a Manager, task: &Task, arguments: &str, log: &Log) -> Call<'a> {
    let arguments = format!("--pid {} -s getsid {arguments}", task.id());
    log.of(manager.call(["-v", "--run", "trace_syscalls", "--args", &arguments]))
}

/// With `--exit`, a mark is two events.
const WITH_EXIT: usize = 2;
const WITHOUT_EXIT: usize = 1;

/// Checks that delivered, unread and lost events add up to `recorded`, and that the summary has the same numbers.
#[track_caller]
fn assert_complete(ended: &Ended, log: &Log, recorded: usize) -> Summary {
    assert!(ended.answer.status.success(), "it failed: {}", log.text());
    let (delivered, unread) = (ended.succeeded(), ended.unread());
    let mut lost = BTreeMap::new();
    for loss in delivered.iter().chain(&unread).filter_map(|line| Loss::of(line)) {
        *lost.entry(loss.cpu).or_default() += loss.count;
    }
    let events = |lines: &[&str]| lines.iter().filter(|line| Loss::of(line).is_none()).count();
    let (delivered, unread) = (events(&delivered), events(&unread));
    assert_eq!(
        log.summary(),
        Summary { recorded, delivered, unread, lost: lost.clone(), ..Summary::default() }
    );
    assert_eq!(recorded, delivered + unread + lost.values().sum::<usize>());
    log.summary()
}

/// The number of a mark.
fn mark(line: &str) -> Option<usize> {
    let number = Event::of(line).what.strip_prefix("sys_getsid(pid: ")?.strip_suffix(')')?;
    usize::from_str_radix(number.trim_start_matches("0x"), 16).ok()
}

/// Checks that the lines are those of the first marks in order, with every gap reported in its place; returns the number
/// of events that they cover. For a task that is bound to one CPU.
#[track_caller]
fn in_place<'a>(lines: impl IntoIterator<Item = &'a str>, events_per_mark: usize) -> usize {
    let mut next = 0;
    for line in lines {
        if let Some(loss) = Loss::of(line) {
            next += loss.count;
            continue;
        }
        match mark(line) {
            Some(number) => assert_eq!(number * events_per_mark, next, "what comes next is not {line}"),
            None => assert_eq!(next % WITH_EXIT, 1, "what comes next is not {line}"),
        }
        next += 1;
    }
    next
}

/// A task that is bound to one CPU, so that the lines are in the order of its events.
fn settled_workload() -> Workload {
    let workload = Workload::start();
    workload.stays_on(cpus()[0]);
    workload
}

/// Far more than `--spool-size 1` and the buffers before it hold.
const FLOOD: usize = 300_000;

/// `--exit`, with a ring buffer that holds a whole flood: nothing is lost, however busy the machine is.
const LARGE_BUFFER: &str = "--exit --buffer-size 32768";

#[test]
fn every_event_of_a_busy_task_is_delivered() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let summary = deliver_flood(LARGE_BUFFER);
    let all = FLOOD * WITH_EXIT;
    assert_eq!(summary, Summary { recorded: all, delivered: all, ..Summary::default() });
}

/// On a busy machine the collector may get no CPU while a flood fills the default buffer, which takes some milliseconds.
const ATTEMPTS: usize = 8;

#[test]
fn the_default_buffer_suffices_for_a_busy_task() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let suffices = (0..ATTEMPTS).any(|_| deliver_flood("--exit").lost.is_empty());
    assert!(suffices, "events were lost in each of {ATTEMPTS} sessions");
}

#[test]
fn overwritten_events_are_reported_where_they_are_missing() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let summary = deliver_flood("--exit --buffer-size 64");
    assert!(!summary.lost.is_empty(), "the buffer was large enough");
}

/// Has a task emit marks as fast as it can, and checks that all are delivered, or reported where they are missing.
#[track_caller]
fn deliver_flood(arguments: &str) -> Summary {
    let manager = manager();
    let (workload, log) = (settled_workload(), Log::new());
    let session = run(&manager, &workload, &format!("{arguments} --drain 60"), &log).start();
    workload.marks(0, FLOOD);
    let ended = session.stop();
    let summary = assert_complete(&ended, &log, FLOOD * WITH_EXIT);
    let lines = [ended.succeeded(), ended.unread()].concat();
    assert_eq!(in_place(lines, WITH_EXIT), FLOOD * WITH_EXIT);
    summary
}

#[test]
fn a_session_stopped_with_a_backlog_delivers_all_of_it() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (workload, log) = (settled_workload(), Log::new());
    let session = run(&manager, &workload, &format!("{LARGE_BUFFER} --drain 60"), &log).start();
    workload.marks(0, FLOOD / 3);
    let ended = session.stop();
    let summary = assert_complete(&ended, &log, FLOOD / 3 * WITH_EXIT);
    assert_eq!(summary.delivered, FLOOD / 3 * WITH_EXIT);
    assert_eq!(in_place(ended.succeeded(), WITH_EXIT), FLOOD / 3 * WITH_EXIT);
}

#[test]
fn busy_tasks_on_all_cpus_are_counted_and_in_order() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (parent, log) = (Workload::start(), Log::new());
    let workloads: Vec<Workload> = cpus().iter().map(|_| Workload::start()).collect();
    let pids: Vec<String> = workloads.iter().map(|workload| workload.id().to_string()).collect();
    let session = run(&manager, &parent, &format!("{LARGE_BUFFER} --pid {}", pids.join(" ")), &log).start();
    for (workload, cpu) in workloads.iter().zip(cpus()) {
        workload.stays_on(cpu);
        workload.begins_to_mark(0, FLOOD / 4);
    }
    // A command waits for the end of the one before.
    workloads.iter().for_each(|workload| workload.marks(0, 0));
    let recorded = FLOOD / 4 * WITH_EXIT * workloads.len();
    session.wait_for_lines(recorded / 2);
    let ended = session.stop();
    assert_complete(&ended, &log, recorded);
    let lines = [ended.succeeded(), ended.unread()].concat();
    for workload in &workloads {
        let own = lines.iter().filter(|line| Loss::of(line).is_none() && Event::of(line).id == workload.id());
        assert!(own.filter_map(|line| mark(line)).is_sorted_by(|a, b| a < b), "out of order, or twice");
    }
}

#[test]
fn events_of_unselected_tasks_are_not_counted() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for arguments in ["--exact", "--exact --exit"] {
        let (workload, log) = (Workload::start(), Log::new());
        let (thread, child) = (workload.thread(), workload.child());
        let session = run(&manager, &workload, arguments, &log).start();
        let later = workload.child();
        workload.marks(0, 1000);
        child.marks(1000, 1000);
        later.marks(2000, 1000);
        workload.storm(20);
        thread.marks(3000, 500);
        let events = if arguments.contains("exit") { WITH_EXIT } else { WITHOUT_EXIT };
        let summary = assert_complete(&session.stop(), &log, 1500 * events);
        assert_eq!(summary.delivered, 1500 * events);
    }
}

/// The most memory that a worker may use, in KiB.
const RESIDENT: u64 = 64_000_000 / 1024;

#[test]
fn with_a_stuck_reader_unread_output_is_kept_in_order_and_losses_are_reported() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (workload, log) = (settled_workload(), Log::new());
    let mut session = run(&manager, &workload, "--exit --spool-size 1", &log).start_unread();
    let stuck = File::open(session.path()).expect("the caller can open the trace");
    workload.marks(0, FLOOD);
    let worker = session.worker();
    session.process().signal(Signal::SIGINT);
    let mut peak = 0;
    wait_until("the session ends", PATIENCE, || {
        peak = peak_resident(worker).unwrap_or(peak);
        session.process().is_over()
    });
    let ended = session.ends();
    let summary = assert_complete(&ended, &log, FLOOD * WITH_EXIT);
    assert_eq!(summary.delivered, 0);
    assert_eq!(
        Reader::of_file(stuck, Duration::ZERO).finish(),
        [""; 0],
        "in the pipe, though it is left as well"
    );
    let unread = ended.unread();
    assert!(unread.len() > 30_000, "a mebibyte of events is more than {} lines", unread.len());
    assert!(Loss::of(unread[unread.len() - 1]).is_some(), "the last events found no room");
    assert_eq!(in_place(unread, WITH_EXIT), FLOOD * WITH_EXIT);
    assert!((1..RESIDENT).contains(&peak), "the worker held {peak} KiB");
}

/// The peak memory of a process, in KiB.
fn peak_resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// With a larger ring buffer, so that the spool fills up first, even on a busy machine.
const SMALL_SPOOL: &str = "--exit --spool-size 1 --buffer-size 32768";

#[test]
fn a_reader_that_pauses_finds_the_loss_in_its_place() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (workload, log) = (settled_workload(), Log::new());
    let session = run(&manager, &workload, SMALL_SPOOL, &log).start_unread();
    let stuck = File::open(session.path()).expect("the caller can open the trace");
    let flood = fill_spool(&workload, &log, "the spool has reached its limit");
    let (ended, marks) = continue_reading(session, stuck, &workload, flood);
    let summary = assert_complete(&ended, &log, marks * WITH_EXIT);
    assert!(!summary.lost.is_empty(), "the spool was large enough");
    let lines = ended.succeeded();
    assert!(Loss::of(lines[lines.len() - 1]).is_none(), "the last marks came after the gap");
    assert_eq!(in_place([lines, ended.unread()].concat(), WITH_EXIT), marks * WITH_EXIT);
}

/// Makes the task emit marks until the condition holds: how much is waiting elsewhere than in the spool depends on which
/// thread runs when. Returns the number of marks.
#[track_caller]
fn marks_until(workload: &Task, what: &str, mut condition: impl FnMut() -> bool) -> usize {
    let mut marks = 0;
    wait_until(what, PATIENCE, || {
        workload.marks(marks, FLOOD / 2);
        marks += FLOOD / 2;
        condition()
    });
    marks
}

/// Makes the task emit more marks than the spool takes; the session then logs this message. Returns their number.
#[track_caller]
fn fill_spool(workload: &Task, log: &Log, message: &str) -> usize {
    let marks = marks_until(workload, "the spool is full", || log.text().contains(message));
    // At least the last of these find no room.
    workload.marks(marks, FLOOD);
    marks + FLOOD
}

#[test]
fn a_session_with_a_stuck_reader_waits_without_using_the_cpu() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (workload, log) = (settled_workload(), Log::new());
    let session = run(&manager, &workload, "", &log).start_unread();
    let _stuck = File::open(session.path()).expect("the caller can open the trace");
    let worker = session.worker();
    let mut marks = 0;
    // It collects everything, renders what there is room for, and then has nothing to do.
    wait_until("it is idle", PATIENCE, || {
        workload.marks(marks, FLOOD / 10);
        marks += FLOOD / 10;
        let (began, before) = (Instant::now(), cpu_time_of(worker));
        while began.elapsed() < Duration::from_millis(300) {
            std::thread::sleep(Duration::from_millis(50));
        }
        marks > FLOOD / 2 && cpu_time_of(worker) - before < began.elapsed() / 5
    });
    assert_eq!(session.stop().unread().len(), marks);
}

/// Each wake-up of an idle session costs something for each other session on the machine.
#[test]
fn an_idle_session_sleeps_until_there_is_an_event() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (workload, log) = (Workload::start(), Log::new());
    let session = run(&manager, &workload, "", &log).start();
    let worker = session.worker();
    for mark in 0..3 {
        // For some tenths of a second after an event there may be more.
        wait_until("the collector sleeps", PATIENCE, || {
            let before = switches_of_collector(worker);
            std::thread::sleep(Duration::from_millis(400));
            switches_of_collector(worker) - before <= 2
        });
        let switches = switches_of_collector(worker);
        wait_until("it falls asleep again", PATIENCE, || switches_of_collector(worker) > switches);
        let began = Instant::now();
        workload.marks(mark, 1);
        session.wait_for_lines(mark + 1);
        // Without an event to wake it, it would sleep for a second from now.
        assert!(began.elapsed() < Duration::from_millis(800), "it took {:?}", began.elapsed());
    }
    assert_eq!(session.stop().succeeded().len(), 3);
}

/// How often the thread that collects has slept. It gets its name when it first runs.
#[track_caller]
fn switches_of_collector(worker: u32) -> u64 {
    let of_collector = |status: String| {
        let (_, rest) =
            status.strip_prefix("Name:\tcollector\n")?.split_once("\nvoluntary_ctxt_switches:")?;
        rest.lines().next()?.trim().parse().ok()
    };
    eventually("a session has a collector", PATIENCE, || {
        let threads = fs::read_dir(format!("/proc/{worker}/task")).expect("the process exists").flatten();
        let statuses = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
        statuses.filter_map(of_collector).next()
    })
}

/// The CPU time of a process (proc_pid_stat(5)).
fn cpu_time_of(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process exists");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse().expect("a number")).collect();
    // USER_HZ is 100 on all architectures.
    Duration::from_millis(ticks.iter().sum::<u64>() * 10)
}

/// A reader that has paused while `marks` marks were recorded continues until it gets a later one. Returns the ended
/// session and the number of marks then.
#[track_caller]
fn continue_reading(session: Session, stuck: File, workload: &Task, flood: usize) -> (Ended, usize) {
    let reader = Reader::of_file(stuck, Duration::ZERO);
    let mut marks = flood;
    wait_until("a mark from after the flood is read", PATIENCE, || {
        workload.marks(marks, 1);
        marks += 1;
        let last = reader.last().unwrap_or_default();
        let last = last.trim_end();
        !last.is_empty() && Loss::of(last).is_none() && mark(last).is_some_and(|mark| mark >= flood)
    });
    let mut ended = session.stop();
    ended.lines = reader.finish();
    (ended, marks)
}

#[test]
fn a_late_reader_gets_every_line_from_the_start() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (workload, log) = (settled_workload(), Log::new());
    let session = run(&manager, &workload, LARGE_BUFFER, &log).start_unread();
    workload.marks(0, FLOOD / 4);
    let session = session.read();
    session.wait_for_lines(FLOOD / 4 * WITH_EXIT);
    let ended = session.stop();
    let summary = assert_complete(&ended, &log, FLOOD / 4 * WITH_EXIT);
    assert_eq!(summary.delivered, FLOOD / 4 * WITH_EXIT);
    assert_eq!(in_place(ended.succeeded(), WITH_EXIT), FLOOD / 4 * WITH_EXIT);
}

#[test]
fn a_second_reader_continues_where_the_first_stopped() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (workload, log) = (settled_workload(), Log::new());
    let session = run(&manager, &workload, "", &log).start_unread();
    let mut lines = Vec::new();
    let mut marks = 0;
    for taken in [1, 300, 10_000] {
        let reader = File::open(session.path()).expect("the caller can open the trace");
        workload.marks(marks, 20_000);
        marks += 20_000;
        lines.extend(Reader::first(reader, taken));
    }
    let session = session.read();
    session.wait_for_lines(marks - lines.len());
    let mut ended = session.stop();
    ended.lines.splice(0..0, lines);
    let summary = assert_complete(&ended, &log, marks);
    assert_eq!(summary.delivered, marks);
    assert_eq!(in_place(ended.succeeded(), WITHOUT_EXIT), marks);
}

/// Mounts a file system that is too small for the spool's file, and runs the manager.
fn with_a_full_disk(options: &str) -> String {
    format!(r#"mount -t tmpfs -o {options} none /var/tmp; exec "$@""#)
}

/// There is room for a part of the spool's file, or for nothing.
const FULL_DISKS: [&str; 2] = ["size=1m", "ro"];

#[test]
fn losses_on_a_full_disk_are_counted() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for options in FULL_DISKS {
        let (workload, log) = (settled_workload(), Log::new());
        let call = run(&manager, &workload, "--exit --buffer-size 32768", &log)
            .in_mount_namespace(&with_a_full_disk(options));
        let session = call.start_unread();
        let stuck = File::open(session.path()).expect("the caller can open the trace");
        // The message names the directory.
        let marks = fill_spool(&workload, &log, "/var/tmp");
        let ended = session.stop();
        let summary = assert_complete(&ended, &log, marks * WITH_EXIT);
        assert!(!summary.lost.is_empty() && summary.unread > 200_000, "{options}: {summary:?}");
        assert_eq!(in_place(ended.unread(), WITH_EXIT), marks * WITH_EXIT, "{options}");
        drop(stuck);
    }
}

#[test]
fn a_session_on_a_full_disk_continues_when_its_reader_does() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    for options in FULL_DISKS {
        let (workload, log) = (settled_workload(), Log::new());
        let call = run(&manager, &workload, "--exit --buffer-size 32768", &log)
            .in_mount_namespace(&with_a_full_disk(options));
        let session = call.start_unread();
        let stuck = File::open(session.path()).expect("the caller can open the trace");
        let flood = fill_spool(&workload, &log, "/var/tmp");
        let (ended, marks) = continue_reading(session, stuck, &workload, flood);
        let summary = assert_complete(&ended, &log, marks * WITH_EXIT);
        assert!(!summary.lost.is_empty(), "{options}: {summary:?}");
        assert_eq!(
            in_place([ended.succeeded(), ended.unread()].concat(), WITH_EXIT),
            marks * WITH_EXIT,
            "{options}"
        );
    }
}

#[test]
fn events_of_a_cpu_survive_its_going_offline() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let _alone = lock_out_sweeps();
    let cpu = *cpus().last().expect("the CPU is known");
    let manager = manager();
    let (workload, logs) = (Workload::start(), [Log::new(), Log::new()]);
    let first = run(&manager, &workload, "", &logs[0]).start();
    workload.stays_on(cpu);
    workload.marks(0, 5000);
    let offline = match OfflineCpu::new(cpu) {
        Ok(offline) => offline,
        Err(why) => return skip(&why),
    };
    // It runs on another CPU now.
    workload.marks(5000, 5000);
    // This session starts without a buffer for that CPU.
    let second = run(&manager, &workload, "", &logs[1]).start();
    drop(offline);
    workload.stays_on(cpu);
    workload.marks(10_000, 5000);
    for (session, log, marks) in [(first, &logs[0], 0..15_000), (second, &logs[1], 10_000..15_000)] {
        let ended = session.stop();
        let summary = assert_complete(&ended, log, marks.len());
        assert_eq!(summary.delivered, marks.len());
        assert!(ended.succeeded().into_iter().filter_map(mark).eq(marks));
    }
}

#[test]
fn a_test_that_fails_leaves_no_instance_behind() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let mut pid = 0;
    let failed = catch_unwind(AssertUnwindSafe(|| {
        let manager = manager();
        let (workload, log) = (settled_workload(), Log::new());
        let session = run(&manager, &workload, LARGE_BUFFER, &log).start_unread();
        pid = session.pid();
        workload.marks(0, FLOOD);
        // A panic without a message.
        resume_unwind(Box::new(()));
    }));
    assert!(failed.is_err());
    assert_eq!(kernel.instances_of(&[pid]), []);
}

#[test]
fn a_buffer_size_that_the_kernel_refuses_fails_cleanly() {
    let Some(kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let workload = Workload::start();
    // More memory than any machine has, so that it is refused at once and not when half of it is allocated.
    let arguments = format!("--pid {} --buffer-size 1000000000000", workload.id());
    let mut process = manager.run("trace_syscalls", arguments).spawn();
    let pid = process.pid();
    process.ends(PATIENCE).failed(&["buffer", "memory"]);
    assert!(kernel.instances_of(&[pid]).is_empty());
    assert!(manager.files().is_empty() && manager.unread_output().is_empty());
}

#[test]
fn hostile_task_names_do_not_break_or_miscount_lines() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let names = [
        "a b%s\n\x1b[31m",
        " ",
        "",
        "\n",
        "100% %n %s",
        "\t\r\x07",
        "-1234    [001] ",
        "CPU:1 [LOST 5 E",
        "=> not a stack!",
        "ünïcödé",
    ];
    for name in names {
        let (workload, log) = (Workload::start(), Log::new());
        workload.is_called(name);
        let session = run(&manager, &workload, "--exit", &log).start();
        workload.marks(0, 50);
        let ended = session.stop();
        let summary = assert_complete(&ended, &log, 50 * WITH_EXIT);
        assert_eq!(summary.delivered, 50 * WITH_EXIT, "{name:?}");
        let column = format!("{}{}", " ".repeat(16 - name.len()), name.replace(char::is_control, "?"));
        for line in ended.succeeded() {
            assert_eq!((&line[..16], Event::of(line).id), (&column[..], workload.id()), "{name:?}");
        }
    }
}

/// The kernel's list of names has one per line, and a name may contain newlines.
#[test]
fn a_task_name_cannot_rename_another_task() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (victim, forger, log) = (Workload::start(), Workload::start(), Log::new());
    let (name, forged) = ("victim", format!("a\n{} b", victim.id()));
    victim.is_called(name);
    forger.is_called(&forged);
    let session = run(&manager, &victim, &format!("--pid {}", forger.id()), &log).start();
    for round in 0..20 {
        victim.marks(round, 1);
        forger.marks(round, 1);
        session.wait_for_lines(2 * round + 2);
    }
    let ended = session.stop();
    assert_complete(&ended, &log, 40);
    for line in ended.succeeded() {
        let event = Event::of(line);
        let expected = if event.id == victim.id() { name.to_owned() } else { forged.replace('\n', "?") };
        assert_eq!(event.task, expected, "{line}");
    }
}

#[test]
fn the_spool_has_no_directory_entry() {
    let Some(_kernel) = Kernel::or_skip() else { return };
    let manager = manager();
    let (workload, log) = (settled_workload(), Log::new());
    let session = run(&manager, &workload, "--exit", &log).start_unread();
    let worker = session.worker();
    let marks = marks_until(&workload, "the spool goes to disk", || !spool_files(worker).is_empty());
    for file in spool_files(worker) {
        assert!(file.ends_with(" (deleted)") && !Path::new(&file).exists(), "{file}");
    }
    assert_complete(&session.stop(), &log, marks * WITH_EXIT);
}

/// The open files of a process in the directory of the spool.
fn spool_files(pid: u32) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    let names = targets.map(|target| target.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("/var/tmp/")).collect()
}

"""Sessions that trace a cgroup: its processes, those of nested ones, what joins later, no neighbours, and the end."""
import os, time

import hooks
from session import Failure, Session, Task, expect, wait_for, write

ROOT = "/sys/fs/cgroup"
# In version 1, the hierarchy that hooks of perf need.
VERSION_1 = f"{ROOT}/perf_event"


class Cgroup:
    def __init__(self, path):
        self.path = path
        os.mkdir(path)

    def take(self, task):
        write(f"{self.path}/cgroup.procs", str(task.pid))

    def remove(self):
        """A process that has ended leaves its cgroup a little later."""
        wait_for(lambda: not open(f"{self.path}/cgroup.procs").read())
        limit = time.monotonic() + 10
        while True:
            try:
                return os.rmdir(self.path)
            except OSError:
                if time.monotonic() > limit:
                    raise
                time.sleep(0.02)


def root():
    return VERSION_1 if os.path.isdir(VERSION_1) else ROOT


def enable_a_controller():
    """As the service manager does."""
    if root() == ROOT:
        write(f"{ROOT}/cgroup.subtree_control", "+pids")


def choose(hook, arguments, work, lines_of_a_round, is_exact=False):
    """Traces a cgroup by `hook`. A process that does `work` causes so many lines, or some if that is None. What joins is traced
    from then on, if `is_exact`, or a little later."""
    enable_a_controller()
    cgroup = Cgroup(f"{root()}/traced")
    nested = Cgroup(f"{cgroup.path}/nested")
    tasks = member, deeper, neighbour, joiner = [Task(work) for _ in range(4)]
    try:
        cgroup.take(member), nested.take(deeper)
        session = Session(hook, f"--cgroup {cgroup.path} {arguments}")
        for task in (member, deeper, neighbour):
            task.go()
        cgroup.take(joiner)
        rounds = go_until_traced(joiner, session)
    finally:
        for task in tasks:
            task.end()
        nested.remove(), cgroup.remove()
    lines = session.ended()
    for task, name in ((member, "member"), (deeper, "nested process")):
        found = lines_of(task, lines)
        expected = found == lines_of_a_round if lines_of_a_round else found > 0
        expect(expected, f"{found} lines of the {name}: {lines[:3]}")
    expect(lines_of(neighbour, lines) == 0, f"the neighbour is traced: {lines[:3]}")
    if lines_of_a_round:
        # At least those of the last round.
        fewest, most = lines_of_a_round * (rounds if is_exact else 1), lines_of_a_round * rounds
        found = lines_of(joiner, lines)
        expect(fewest <= found <= most, f"{found} lines of the joiner in {rounds} rounds")
    return f"the joiner is traced in round {rounds - 1}"


def go_until_traced(joiner, session):
    for rounds in range(1, 100):
        joiner.go()
        time.sleep(0.05)
        if lines_of(joiner, session.lines):
            joiner.go()
            return rounds + 1
    raise Failure("what joins is not traced")


def lines_of(task, lines):
    return sum(1 for line in list(lines) if f"-{task.pid} " in line)


def ftrace():
    return choose("trace_syscalls", "-s getppid", hooks.getppids, 50)


def ebpf():
    return choose("trace_open", "--path '/missing/*'", hooks.open_files, 20, is_exact=True)


def uprobe():
    return choose("trace_user", "-f libc.so.6:getppid", hooks.call_libc, 5)


def perf():
    return choose("trace_profile", "", lambda: hooks.spin(0.5), None)


def perf_before_any_controller():
    """The kernel knows perf events in cgroups of version 2 once a controller has been enabled, although these need not be."""
    if root() != ROOT:
        return "version 1"
    cgroup = Cgroup(f"{ROOT}/first")
    try:
        Session("trace_counters", f"--cgroup {cgroup.path}").stop()
    except Failure as failure:
        expect("echo +pids" in str(failure), failure)
        return "the error says what to enable"
    finally:
        cgroup.remove()


# Each with the hook that it uses. The first one comes before a controller is enabled.
TESTS = [("cgroup/none", perf_before_any_controller, "trace_counters"), ("cgroup/ftrace", ftrace, "trace_syscalls"),
         ("cgroup/ebpf", ebpf, "trace_open"), ("cgroup/uprobe", uprobe, "trace_user"), ("cgroup/perf", perf, "trace_profile")]

"""Lines have the same text as the kernel's: compared with an instance that records the same events."""
import glob, os, re

from hooks import TRACING, getppids, open_files, processes, touch_memory
from session import Session, Task, expect, write


class Witness:
    """An instance of the kernel's that follows a task. It starts after our session, and ends before it."""

    def __init__(self, task, events):
        self.path, self.events = f"{TRACING}/instances/witness", events
        os.mkdir(self.path)
        write(f"{self.path}/options/event-fork", "1")
        write(f"{self.path}/set_event_pid", str(task.pid))
        # Where the option is missing, addresses are printed as they are.
        if os.path.exists(f"{self.path}/options/hash-ptr"):
            write(f"{self.path}/options/hash-ptr", "0")

    def start(self):
        for event in self.events:
            write(f"{self.path}/events/{event}/enable", "1")

    def lines(self):
        write(f"{self.path}/tracing_on", "0")
        lines = open(f"{self.path}/trace", errors="replace").read().splitlines()
        return [line for line in lines if line and line[0] != "#"]

    def remove(self):
        os.rmdir(self.path)


def recorded_by_both(hook, arguments, events, work):
    """The lines of `hook` and of the kernel about a process that does `work`, without their times, and its id."""
    task = Task(work)
    witness = Witness(task, events)
    try:
        session = Session(hook, f"--pid {task.pid} {arguments}")
        witness.start()
        task.go()
        kernels = witness.lines()
        ours = session.stop()
    finally:
        task.end()
        witness.remove()
    # Clocks are read apart.
    return [without_time(line) for line in ours], [without_time(line) for line in kernels], task.pid


def without_time(line):
    return re.sub(r" +\d+\.\d+: ", " TIME: ", line)


def system_calls():
    def work():
        getppids(20), open_files(), write_file(), touch_memory(), processes()

    ours, kernels, pid = recorded_by_both("trace_syscalls", "", ["syscalls"], work)
    mine = [line for line in kernels if f"-{pid} " in line and " -> 0x" not in line]
    expect(len(mine) > 40, f"the kernel has only {len(mine)} lines: {kernels[:3]}")
    compare([line for line in ours if f"-{pid} " in line], mine)


def write_file():
    """Text, other bytes, and more of them than kernels record."""
    with open("/tmp/file", "wb", buffering=0) as file:
        for data in (b"text\n", bytes(range(8)), b"long" * 100):
            file.write(data)


def compare(ours, kernels):
    # Some were recorded before the witness was: compare from the first getppid.
    first = next(i for i, line in enumerate(kernels) if "getppid" in line)
    offset = next((i for i, line in enumerate(ours) if "getppid" in line), None)
    expect(offset is not None, f"no getppid in {ours[:3]}")
    ours, kernels = ours[offset:], kernels[first:]
    # The witness ends first.
    expect(len(ours) >= len(kernels), f"{len(ours)} lines where the kernel has {len(kernels)}")
    pairs = list(zip(ours, kernels))
    differing = [(our, kernel) for our, kernel in pairs if our != kernel]
    # The kernel records the call in one instance after the other: a timer interrupt between them requests a reschedule.
    may_reschedule = len(differing) * 20 <= len(pairs)
    wrong = {}
    for our, kernel in differing:
        if not (may_reschedule and without_reschedule(our) == without_reschedule(kernel)):
            wrong.setdefault(re.search(r"TIME: (\w+)", our).group(1), (our, kernel))
    expect(not wrong, "; ".join(f"'{our}' where the kernel prints '{kernel}'" for our, kernel in wrong.values()))


def without_reschedule(line):
    """The second letter of the flags column."""
    return re.sub(r"(\] .).", r"\1 ", line, count=1)


def events_that_end_in_a_newline():
    """The kernel prints an empty line after each of them. One line of ours is one event, so there it is left out."""
    files = glob.glob(f"{TRACING}/events/*/*/format")
    events = [name for file in files if os.path.exists(f"{(name := os.path.dirname(file))}/enable") and ends_in_newline(file)]
    if not events:
        return "there are none"
    events = ["/".join(event.split("/")[-2:]) for event in events]
    names = " ".join(event.replace("/", ":") for event in events)
    ours, kernels, _ = recorded_by_both("trace_events", f"-e {names}", events, processes)
    ours, kernels = (sorted(map(without_flags, lines)) for lines in (ours, kernels))
    expect(ours == kernels, f"{ours[:3]} where the kernel prints {kernels[:3]}")
    return f"{len(events)} such events, {len(kernels)} lines"


def ends_in_newline(file):
    return re.search(r'^print fmt: "[^"]*\n"', open(file).read(), re.MULTILINE)


def without_flags(line):
    return re.sub(r"(\] )\S+", r"\1", line, count=1)


TESTS = [("text", system_calls, "trace_syscalls"), ("text/newline", events_that_end_in_a_newline, "trace_events")]

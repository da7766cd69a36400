#!/usr/bin/env python3
"""The first process of a guest: tries every hook on this kernel, prints a line for each, and turns the machine off.

A line is `@@ RESULT WHAT: WHY`, read by guest.rs. RESULT is `works`, `unavailable` or `fails`. What a hook reports is compared
with what the traced process did, or with what the kernel prints itself."""
import contextlib, ctypes, glob, json, mmap, os, re, signal, socket, subprocess, threading, time, traceback

MANAGER = "/product/manager"
TRACING = "/sys/kernel/tracing"
DISK = "/dev/nvme0n1"
# Seconds until a step counts as stuck: the machine is emulated.
PATIENCE = 120
# The words of the kernel's command line.
WORDS = {}


class Failure(Exception):
    pass


def expect(condition, why):
    if not condition:
        raise Failure(why)


def report(result, what, why=""):
    print(f"@@ {result} {what}: {' '.join(str(why).split())}", flush=True)


def call(*words):
    """A call of the manager that ends by itself."""
    done = subprocess.run([MANAGER, *words], capture_output=True, text=True, timeout=PATIENCE)
    # Plugins are complained about; hooks that are not available may be.
    broken = [line for line in done.stderr.splitlines() if "plugin" in line and "worker" in line]
    expect(done.returncode == 0 and not broken, f"{' '.join(words)} exits with {done.returncode}: {done.stderr}")
    return done.stdout


# --- the traced process ---

class Task:
    """A process that does `work` when `go` is called, and ends when `end` is called."""

    def __init__(self, work):
        (start, self.starter), (self.finisher, done) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.starter), os.close(self.finisher)
            try:
                os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
                os.read(start, 1)
                work()
                os.write(done, b"x")
                os.read(start, 1)
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        os.close(start), os.close(done)

    def go(self):
        os.write(self.starter, b"x")
        expect(os.read(self.finisher, 1) == b"x", "the traced process failed")

    def end(self):
        os.close(self.starter), os.close(self.finisher)
        os.waitpid(self.pid, 0)


class Session:
    """A session of a hook, and all the lines that a reader gets of it."""

    def __init__(self, hook, arguments):
        self.manager = subprocess.Popen([MANAGER, "--run", hook, "--args", arguments], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        path = self.manager.stdout.readline().strip()
        if not path:
            raise Failure(f"it does not start: {self.manager.stderr.read()}")
        self.lines, self.path = [], path
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        with open(self.path, errors="replace") as trace:
            self.lines.extend(line.rstrip("\n") for line in trace)

    def stop(self):
        self.manager.send_signal(signal.SIGINT)
        status = self.manager.wait(PATIENCE)
        self.reader.join(PATIENCE)
        message = self.manager.stderr.read()
        expect(status == 0 and not message, f"it exits with {status}: {message}")
        lost = [line for line in self.lines if " [LOST " in line]
        expect(not lost, f"it lost events: {lost}")
        return self.lines

    def processes(self):
        """The manager and its worker."""
        children = open(f"/proc/{self.manager.pid}/task/{self.manager.pid}/children").read()
        return [self.manager.pid, *map(int, children.split())]


def traced(hook, arguments, work, settled=lambda lines: True):
    """The lines that `hook` reports while a process does `work`, of that process and all others that it follows."""
    task = Task(work)
    try:
        session = Session(hook, f"--pid {task.pid} {arguments}")
        task.go()
        wait_for(lambda: settled(session.lines))
        return session.stop(), task.pid
    finally:
        task.end()


def wait_for(condition):
    limit = time.monotonic() + 10
    while not condition() and time.monotonic() < limit:
        time.sleep(0.02)


def count(lines, pattern, number, at_least=False):
    found = sum(1 for line in lines if re.search(pattern, line))
    good = found >= number if at_least else found == number
    expect(good, f"{found} lines with '{pattern}', not {number}; {len(lines)} lines: {lines[:3]} … {lines[-3:]}")


# --- a test for each hook ---

def getppids(number=50):
    for _ in range(number):
        os.getppid()


def trace_syscalls():
    count(traced("trace_syscalls", "-s getppid", getppids)[0], r"sys_getppid\(\)$", 50)


def trace_events():
    lines, _ = traced("trace_events", "-e syscalls:sys_enter_getppid -e sched:sched_process_fork", processes)
    count(lines, "sched_process_fork: comm=", 3)


def processes():
    for _ in range(3):
        child = os.posix_spawn("/bin/true", ["true"], {})
        os.waitpid(child, 0)


def trace_process():
    lines, _ = traced("trace_process", "", processes)
    count(lines, ": exec: .*/bin/true", 3)
    count(lines, ": exit: .*status=0", 3)


def trace_sched():
    lines, pid = traced("trace_sched", "", lambda: [time.sleep(0.005) for _ in range(20)])
    count(lines, f"-{pid} .*: run: ", 20, at_least=True)


def connection():
    server = socket.create_server(("127.0.0.1", 7777))
    client = socket.create_connection(("127.0.0.1", 7777))
    served, _ = server.accept()
    client.sendall(b"x" * 1000)
    expect(len(served.recv(2000)) == 1000, "loopback loses data")
    for end in (client, served, server):
        end.close()


def trace_net():
    lines, _ = traced("trace_net", "", connection)
    for event in ("connect", "accept"):
        count(lines, f": {event}: ", 1)
    count(lines, "local=127.0.0.1:7777 remote=127.0.0.1:\\d+ .*new=ESTABLISHED", 1)


def touch_memory():
    with mmap.mmap(-1, 64 * 4096) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(64):
            memory[page * 4096] = 1


def trace_memory():
    lines, _ = traced("trace_memory", "-k pages", touch_memory)
    count(lines, ": page_alloc: size=4096", 64, at_least=True)


def write_blocks():
    disk = os.open(DISK, os.O_RDWR | os.O_DIRECT)
    data = mmap.mmap(-1, 4096)
    for block in range(8):
        os.pwrite(disk, data, 2048 * 512 + block * 8192)
    os.close(disk)


def trace_block():
    lines, _ = traced("trace_block", "", write_blocks)
    count(lines, "disk=nvme0n1 .*size=4096 operation=WRITE", 8)


def flush():
    disk = os.open(DISK, os.O_RDWR)
    os.pwrite(disk, b"x" * 4096, 0)
    os.fsync(disk)
    os.close(disk)


def trace_block_flush():
    lines, _ = traced("trace_block", "", flush)
    count(lines, "disk=nvme0n1 .*operation=FLUSH", 1)


def trace_user():
    libc = ctypes.CDLL("libc.so.6")
    lines, _ = traced("trace_user", "-f libc.so.6:getppid --return", lambda: [libc.getppid() for _ in range(5)])
    count(lines, "getppid", 10)


def spin(seconds=1.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def trace_counters():
    lines, _ = traced("trace_counters", "", spin)
    clock = sum(float(value) for line in lines for value in re.findall(r"task_clock=([\d.]+)us", line))
    expect(clock > 500_000, f"task_clock is {clock} us: {lines}")


def trace_profile():
    lines, _ = traced("trace_profile", "", spin)
    count(lines, ": sample: stack=", 20, at_least=True)


# Calls that no argument makes dangerous: they fail on bad descriptors and pointers.
def all_calls():
    libc = ctypes.CDLL("libc.so.6")
    for number in burst():
        libc.syscall(number, -1, -1, -1, -1, -1, -1)


def burst():
    # exit, fork and the like, signals and waits without end, what changes the machine or this process.
    left_out = {15, 22, 23, 34, 35, 56, 57, 58, 59, 60, 61, 62, 95, 101, 112, 127, 128, 130, 153, 154, 161, 163, 167, 168, 169,
                200, 230, 231, 234, 246, 247, 270, 271, 281, 288, 322, 424, 435, 441, 449, 454, 455, 456, 219, 37, 38, 36,
                105, 106, 113, 114, 117, 119, 122, 123, 116, 157, 158, 160, 302, 155, 203, 24, 7, 232, 202, 109, 272, 308,
                317, 436, 444, 446, 3, 334, 335, 221, 103, 14, 13, 131, 12, 11, 9, 25, 26, 10, 28, 149, 150, 151, 152, 325, 329,
                73, 5, 72, 4}
    return [number for number in range(335) if number not in left_out and not 180 <= number <= 185]


def trace_latency():
    if os.uname().machine != "x86_64":
        lines, _ = traced("trace_latency", "--brief", getppids)
        return count(lines, "call=getppid .*count=50", 1)
    task = Task(all_calls)
    try:
        session = Session("trace_latency", f"--pid {task.pid} --brief")
        task.go()
        lines = session.stop()
    finally:
        task.end()
    total = sum(1 for line in lines if "call=" in line)
    expect(total >= len(burst()), f"{total} different calls, not {len(burst())}: {lines[:3]}")


def open_files():
    for number in range(20):
        try:
            open(f"/missing/{number}")
        except OSError:
            pass


def trace_open():
    lines, _ = traced("trace_open", "", open_files)
    count(lines, r"/missing/\d+.*ENOENT", 20)


# --- the same text as the kernel's ---

def text_is_the_kernels():
    """Compares with an instance of the kernel's that records the same calls. Time stamps differ: the clocks are read apart."""
    witness = f"{TRACING}/instances/witness"
    task = Task(lambda: (getppids(20), open_files(), touch_memory(), processes()))
    os.mkdir(witness)
    try:
        write(f"{witness}/options/event-fork", "1")
        write(f"{witness}/set_event_pid", str(task.pid))
        session = Session("trace_syscalls", f"--pid {task.pid}")
        write(f"{witness}/events/syscalls/enable", "1")
        task.go()
        write(f"{witness}/tracing_on", "0")
        ours = session.stop()
        kernels = [line for line in open(f"{witness}/trace", errors="replace").read().splitlines() if line[:1] != "#"]
    finally:
        task.end()
        os.rmdir(witness)
    kernels = [without_time(line) for line in kernels if " -> 0x" not in line]
    ours = [without_time(line) for line in ours]
    mine = [line for line in kernels if f"-{task.pid} " in line]
    expect(len(mine) > 40, f"the kernel has only {len(mine)} lines: {kernels[:3]}")
    compare_texts([line for line in ours if f"-{task.pid} " in line], mine)


def compare_texts(ours, kernels):
    # The witness starts later: compare from the first getppid.
    first = next(i for i, line in enumerate(kernels) if "getppid" in line)
    offset = next((i for i, line in enumerate(ours) if "getppid" in line), None)
    expect(offset is not None, f"no getppid in {ours[:3]}")
    pairs = list(zip(ours[offset:], kernels[first:]))
    differing = [(our, kernel) for our, kernel in pairs if our != kernel]
    for our, kernel in differing:
        # The kernel records the call in one instance after the other: a timer interrupt between them requests a reschedule.
        is_same = without_reschedule(our) == without_reschedule(kernel) and len(differing) * 20 <= len(pairs)
        expect(is_same, f"'{our}' where the kernel prints '{kernel}'")


def without_reschedule(line):
    """The second letter of the flags column."""
    return re.sub(r"(\] .).", r"\1 ", line, count=1)


def without_time(line):
    return re.sub(r" +\d+\.\d+: ", " TIME: ", line)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


# --- nothing is left ---

def kill_and_clear():
    before = state()
    for hook, arguments in (("trace_syscalls", "-s getppid"), ("trace_user", "-f libc.so.6:getppid"), ("trace_open", "")):
        if hook not in AVAILABLE:
            continue
        task = Task(getppids)
        session = Session(hook, f"--pid {task.pid} {arguments}")
        processes = session.processes()
        expect(len(processes) > 1, f"no worker of {hook}")
        for process in processes:
            # A worker that has done its job, such as discovery, may be gone by now.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        session.manager.wait(PATIENCE)
        task.go()
        task.end()
    began = time.monotonic()
    call("--clear")
    took = time.monotonic() - began
    after = state()
    expect(after == before, f"left behind: {after}, before: {before}")
    return f"{took:.1f} s"


def state():
    reap_orphans()
    run = sorted(name for name in glob.glob("/run/trace-hooks/**", recursive=True) if not name.endswith("lock"))
    probes = open(f"{TRACING}/uprobe_events").read()
    tasks = subprocess.run(["pgrep", "-x", "manager"], capture_output=True, text=True).stdout
    return {
        "instances": sorted(os.listdir(f"{TRACING}/instances")), "probes": probes, "managers": tasks,
        "files": [name for name in run if os.path.isfile(name) or not os.path.isdir(name)],
        "enabled": open(f"{TRACING}/events/enable").read(), "pids": open(f"{TRACING}/set_event_pid").read(),
    }


def reap_orphans():
    """The first process is the parent of all whose own parent was killed."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


# --- more, for the long form ---

def check_plugins():
    for plugin in sorted(glob.glob("/product/plugins/*.so")):
        call("--check", plugin)


def flood():
    lines, _ = traced("trace_syscalls", "-s getppid --spool-size 1024", lambda: getppids(100_000))
    count(lines, "sys_getppid", 100_000)


# --- the machine ---

def prepare():
    # The host may be busy besides.
    os.environ["TRACER_PATIENCE"] = "10"
    mount("proc", "/proc"), mount("sysfs", "/sys"), mount("devtmpfs", "/dev"), mount("tmpfs", "/run"), mount("tmpfs", "/tmp")
    WORDS.update(word.partition("=")[::2] for word in open("/proc/cmdline").read().split())
    for kind, where in (("tracefs", TRACING), ("securityfs", "/sys/kernel/security"), ("cgroup2", "/sys/fs/cgroup")):
        if kind not in WORDS.get("unmounted", "").split(","):
            mount(kind, where)
    subprocess.run(["ip", "link", "set", "lo", "up"])
    # An entry of /dev that descriptors need.
    os.path.exists("/dev/fd") or os.symlink("/proc/self/fd", "/dev/fd")


def mount(kind, where):
    done = subprocess.run(["mount", "-t", kind, kind, where], capture_output=True, text=True)
    expect(done.returncode == 0, done.stderr)


def attempt(what, test, *arguments):
    began = time.monotonic()
    try:
        why = test(*arguments)
    except (Failure, OSError, subprocess.TimeoutExpired) as error:
        return report("fails", what, f"{type(error).__name__}: {error}")
    report("works", what, f"{why or ''} ({time.monotonic() - began:.1f} s)")


HOOKS = [trace_block, trace_counters, trace_events, trace_latency, trace_memory, trace_net, trace_open, trace_process,
         trace_profile, trace_sched, trace_syscalls, trace_user]
AVAILABLE = set()


def discover():
    """Prints the hooks that cannot be had, and remembers the others."""
    listed = {hook["hook"]: hook for hook in json.loads(call("--list", "--json"))}
    callable_ = set(call("--get-all").split())
    missing = {test.__name__ for test in HOOKS} - set(listed)
    expect(not missing, f"--list lacks {missing}")
    for name, hook in sorted(listed.items()):
        why = hook["reason"]
        expect((why is None) == (name in callable_), f"--list and --get-all differ about {name}: {hook}")
        if why is None:
            AVAILABLE.add(name)
        else:
            report("unavailable", name, why)
            reasons = ["lacks", "has no event"] + (["locked down"] if "lockdown" in WORDS else [])
            expect(any(reason in why for reason in reasons), f"{name} is not available: {why}")


# Tests of more than one hook, each with the hook that it cannot do without.
MORE = [("flush", trace_block_flush, "trace_block"), ("text", text_is_the_kernels, "trace_syscalls"),
        ("clear", kill_and_clear, "trace_syscalls")]
LONG = [("check", check_plugins, "trace_syscalls"), ("flood", flood, "trace_syscalls")]


def main():
    """Words on the kernel's command line: `tests=A,B` are the only tests, `long` adds some, `lockdown=…` is the kernel's own."""
    try:
        prepare()
        report("kernel", os.uname().release, f"{os.cpu_count()} CPUs")
        attempt("discovery", discover)
        tests = [(test.__name__, test, test.__name__) for test in HOOKS] + MORE + (LONG if "long" in WORDS else [])
        chosen = WORDS.get("tests", "").split(",")
        for name, test, hook in tests:
            if hook in AVAILABLE and (chosen == [""] or name in chosen):
                attempt(name, test)
    except BaseException:
        report("fails", "guest", traceback.format_exc())
    report("end", "guest")
    write("/proc/sysrq-trigger", "o")
    time.sleep(PATIENCE)


if os.getpid() == 1:
    main()

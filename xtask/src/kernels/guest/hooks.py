"""A test for each hook, by what a process does. Each compares with what the process did."""
import contextlib, ctypes, mmap, os, re, signal, socket, time

import blocks, calls
from session import Session, Task, count, expect, traced

TRACING = "/sys/kernel/tracing"
# Below a mount point.
DIRECTORY = "/tmp/" + "/".join(f"level{level}" for level in range(40))


def getppids(number=50):
    for _ in range(number):
        os.getppid()


def unreadable_and_empty_paths():
    for path in (b"", ctypes.c_void_p(4), b"/x"):
        ctypes.CDLL(None).faccessat(-100, path, 0, 0)


def trace_syscalls():
    count(traced("trace_syscalls", "-s getppid", getppids)[0], r"sys_getppid\(\)$", 50)
    lines, _ = traced("trace_syscalls", "-s faccessat --decode --format json", unreadable_and_empty_paths)
    # Before Linux 6.19, all of them are addresses.
    if any('"filename":"/x"' in line for line in lines):
        count(lines, '"filename":"".*"error":"ENOENT"', 1)
        count(lines, '"filename":"0x4".*"error":"EFAULT"', 1)
        lines, _ = traced("trace_syscalls", "-s faccessat --format json", unreadable_and_empty_paths)
        count(lines, r'"__filename_val":"\(fault\)"', 1)
        count(lines, '"__filename_val":""', 1)


def trace_events():
    lines, _ = traced("trace_events", "-e syscalls:sys_enter_getppid -e sched:sched_process_fork", processes)
    count(lines, "sched_process_fork: comm=", 3)


def processes():
    for _ in range(3):
        child = os.posix_spawn("/bin/true", ["true", "a b", ""], {})
        os.waitpid(child, 0)


def processes_and_failure():
    processes()
    with contextlib.suppress(FileNotFoundError):
        os.execv("/no/such/program", ["program"])


def killed():
    """The lines of a process that is killed by one that is not traced."""
    task = Task(lambda: None)
    try:
        session = Session("trace_process", f"--pid {task.pid}")
        os.kill(task.pid, signal.SIGTERM)
        return session.ended()
    finally:
        task.end()


def trace_process():
    lines, _ = traced("trace_process", "", processes_and_failure)
    count(lines, r': exec: path="/bin/true" .*argc=3 argv=\["true","a b",""\] file="/usr/bin/true"', 3)
    count(lines, ": exit: status=0 group_dead .*cpu_time=", 3)
    count(lines, ': exec_failed: path="/no/such/program" .*error=ENOENT', 1)
    lines = killed()
    count(lines, ": signal_generate: signal=SIGTERM ", 1)
    count(lines, f": signal_deliver: signal=SIGTERM code=SI_USER action=default sender_pid={os.getpid()} ", 1)
    count(lines, ": exit: killed signal=SIGTERM group_dead ", 1)


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


def call_libc():
    libc = ctypes.CDLL("libc.so.6")
    for _ in range(5):
        libc.getppid()


def trace_user():
    lines, _ = traced("trace_user", "-f libc.so.6:getppid --return", call_libc)
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
    lines, _ = traced("trace_profile", "", lambda: spin(3.0))
    count(lines, ": sample: stack=", 20, at_least=True)


def trace_latency():
    """The first burst of calls of this kernel: all that Linux 6.18 has."""
    task = Task(calls.make_all)
    try:
        session = Session("trace_latency", f"--pid {task.pid} --brief")
        task.go()
        lines = session.stop()
    finally:
        task.end()
    made = calls.with_return()
    total = sum(1 for line in lines if "call=" in line)
    expect(total >= len(made), f"{total} different calls, not {len(made)}: {lines[:3]}")
    return f"{total} different calls"


def nap():
    for _ in range(10):
        time.sleep(0.05)


def trace_offcpu():
    lines, _ = traced("trace_offcpu", "--over 40ms", nap)
    count(lines, r"call=(clock_)?nanosleep .*nanosleep_\[k\]", 10)


def open_files():
    for number in range(20):
        try:
            open(f"/missing/{number}")
        except OSError:
            pass


def open_relative():
    """A path whose directory the programs have to find, across a mount point."""
    os.makedirs(DIRECTORY, exist_ok=True)
    os.chdir(DIRECTORY)
    with contextlib.suppress(OSError):
        open("relative")


def trace_open():
    lines, _ = traced("trace_open", "", lambda: (open_files(), open_relative()))
    count(lines, r"/missing/\d+.*ENOENT", 20)
    count(lines, f'path="{DIRECTORY}/relative".*ENOENT', 1)


def trace_calls():
    lines, _ = traced("trace_calls", "-s %network,openat,close", lambda: (connection(), open_files()))
    count(lines, r": connect: fd=\d+<TCP:\[\d+\]> .*sin_port=7777, sin_addr=\"127.0.0.1\"", 1)
    count(lines, r": accept4?: .* result=\d+<TCP:\[127.0.0.1:7777->127.0.0.1:\d+\]>", 1)
    count(lines, r": close: fd=\d+<TCP:\[127.0.0.1:7777\]>", 1)
    count(lines, r'filename="/missing/\d+".*ENOENT', 20)


HOOKS = [blocks.trace_block, trace_calls, trace_counters, trace_events, trace_latency, trace_memory, trace_net, trace_offcpu, trace_open,
         trace_process, trace_profile, trace_sched, trace_syscalls, trace_user]

"""Nothing is left in the kernel."""
import contextlib, glob, os, signal, subprocess, time

from hooks import TRACING, getppids
from session import PATIENCE, Session, Task, call, expect


def kill_and_clear(available):
    # A session that lost events has left a summary, which `--clear` removes.
    before = {**state(), "files": []}
    for hook, arguments in (("trace_syscalls", "-s getppid"), ("trace_user", "-f libc.so.6:getppid"), ("trace_open", "")):
        if hook in available:
            kill(hook, arguments)
    began = time.monotonic()
    call("--clear")
    took = time.monotonic() - began
    after = state()
    expect(after == before, f"left behind: {after}, before: {before}")
    return f"{took:.1f} s"


def kill(hook, arguments):
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

#!/usr/bin/env python3
"""The first process of a guest: tries every hook on this kernel, prints a line for each, and turns the machine off.

A line is `@@ RESULT WHAT: WHY`, read by results.rs. RESULT is `works`, `unavailable` or `fails`. What a hook reports is compared
with what the traced process did, or with what the kernel prints itself."""
import functools, glob, json, os, subprocess, sys, time, traceback

# No other file is written to the root file system than the tests'.
sys.dont_write_bytecode = True

import blocks, cgroups, hooks, surroundings, teardown, texts
from hooks import TRACING
from session import PATIENCE, Failure, call, count, expect, traced, write

# The words of the kernel's command line.
WORDS = {}
AVAILABLE = set()


def report(result, what, why=""):
    print(f"@@ {result} {what}: {' '.join(str(why).split())}", flush=True)


# --- the machine ---

def prepare():
    os.environ["PATH"] = "/usr/sbin:/usr/bin"
    # The host may be busy besides.
    os.environ["TRACER_PATIENCE"] = "10"
    mount("proc", "/proc"), mount("sysfs", "/sys"), mount("devtmpfs", "/dev"), mount("tmpfs", "/run"), mount("tmpfs", "/tmp")
    WORDS.update(word.partition("=")[::2] for word in open("/proc/cmdline").read().split())
    for kind, where in (("tracefs", TRACING), ("securityfs", "/sys/kernel/security")):
        if kind not in WORDS.get("unmounted", "").split(","):
            mount(kind, where)
    if WORDS.get("cgroup") == "1":
        mount("tmpfs", cgroups.ROOT)
        for controller in ("perf_event", "pids"):
            mount("cgroup", f"{cgroups.ROOT}/{controller}", "-o", controller)
    else:
        mount("cgroup2", cgroups.ROOT)
    subprocess.run(["ip", "link", "set", "lo", "up"])
    # An entry of /dev that descriptors need.
    os.path.exists("/dev/fd") or os.symlink("/proc/self/fd", "/dev/fd")


def mount(kind, where, *options):
    os.makedirs(where, exist_ok=True)
    done = subprocess.run(["mount", "-t", kind, *options, kind, where], capture_output=True, text=True)
    expect(done.returncode == 0, done.stderr)


# --- the tests ---

def discover():
    """Prints the hooks that cannot be had, and remembers the others."""
    listed = {hook["hook"]: hook for hook in json.loads(call("--list", "--json"))}
    callable_ = set(call("--get-all").split())
    missing = {test.__name__ for test in hooks.HOOKS} - set(listed)
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


def check_plugins():
    for plugin in sorted(glob.glob("/product/plugins/*.so")):
        call("--check", plugin)


def flood():
    lines, _ = traced("trace_syscalls", "-s getppid --spool-size 1024", lambda: hooks.getppids(100_000))
    count(lines, "sys_getppid", 100_000)


# Each with the hook that it cannot do without; None: it chooses itself.
USUAL = [*[(test.__name__, test, test.__name__) for test in hooks.HOOKS], *blocks.TESTS, *texts.TESTS]
LONG = [*cgroups.TESTS, *[(name, functools.partial(test, AVAILABLE), None) for name, test in surroundings.TESTS],
        ("check", check_plugins, "trace_syscalls"), ("flood", flood, "trace_syscalls")]
LAST = [("clear", functools.partial(teardown.kill_and_clear, AVAILABLE), "trace_syscalls")]


def attempt(what, test):
    began = time.monotonic()
    try:
        why = test()
    except (Failure, OSError, subprocess.SubprocessError) as error:
        return report("fails", what, f"{type(error).__name__}: {error}")
    report("works", what, f"{why or ''} ({time.monotonic() - began:.1f} s)")


def main():
    """Words on the kernel's command line: `tests=A,B` are the only tests, `long` adds some, `cgroup=1` is the version, and
    `lockdown=…` is the kernel's own."""
    try:
        prepare()
        report("kernel", os.uname().release, f"{os.cpu_count()} CPUs")
        attempt("discovery", discover)
        chosen = WORDS.get("tests", "").split(",")
        for name, test, hook in [*USUAL, *(LONG if "long" in WORDS else []), *LAST]:
            if (hook is None or hook in AVAILABLE) and (chosen == [""] or name in chosen):
                attempt(name, test)
    except BaseException:
        report("fails", "guest", traceback.format_exc())
    report("end", "guest")
    write("/proc/sysrq-trigger", "o")
    time.sleep(PATIENCE)


if os.getpid() == 1:
    main()

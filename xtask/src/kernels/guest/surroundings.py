"""What `--list` says in a container that keeps a session from running."""
import ctypes, json, os, struct, subprocess

from session import MANAGER, PATIENCE, call, expect

# What the plugins need of each other machine's system calls that stock profiles of containers forbid.
FORBIDDEN = {"x86_64": {"bpf": 321, "perf_event_open": 298}, "aarch64": {"bpf": 280, "perf_event_open": 241}}
# From linux/prctl.h, linux/seccomp.h and linux/bpf_common.h.
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL_WITH_EPERM = 0x7FFF0000, 0x00050001

HOOKS_OF_PERF = {"trace_counters", "trace_profile"}
HOOKS_OF_EBPF = {"trace_calls", "trace_latency", "trace_offcpu", "trace_open"}


def reasons(listed):
    return {hook["hook"]: hook["reason"] or "" for hook in json.loads(listed)}


def in_an_inner_pid_namespace(available):
    """With the container's own procfs, only hooks of perf know the processes."""
    within = ["unshare", "--pid", "--fork", "--mount-proc"]
    found = reasons(call("--list", "--json", within=within))
    for hook in available:
        expected = not found[hook] if hook in HOOKS_OF_PERF else "TRACER_PROCFS_PATH" in found[hook]
        expect(expected, f"{hook}: {found[hook] or 'available'}")


def under_the_profile_of_a_container(available):
    done = under_profile("--list", "--json")
    expect(done.returncode == 0, f"--list exits with {done.returncode}: {done.stderr}")
    found = reasons(done.stdout)
    for hook in available & (HOOKS_OF_PERF | HOOKS_OF_EBPF):
        expect("seccomp" in found[hook], f"{hook}: {found[hook] or 'available'}")
    for hook in available & HOOKS_OF_EBPF:
        failed = under_profile("--run", hook, "--args", f"--pid {os.getpid()}")
        expect(failed.returncode == 1 and "seccomp" in failed.stderr, f"{hook} exits with {failed.returncode}: {failed.stderr}")
    for hook in available - HOOKS_OF_PERF - HOOKS_OF_EBPF:
        expect(not found[hook], f"{hook}: {found[hook]}")


def under_profile(*words):
    return subprocess.run([MANAGER, *words], capture_output=True, text=True, timeout=PATIENCE, preexec_fn=forbid)


def forbid():
    """Makes these calls of this process fail, as a seccomp profile does."""
    calls = FORBIDDEN[os.uname().machine].values()
    # The number of the call is the first member of `struct seccomp_data`.
    program = [(LOAD_WORD, 0, 0, 0)]
    program += [(JUMP_IF_EQUAL, len(calls) - index, 0, number) for index, number in enumerate(calls)]
    program += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, FAIL_WITH_EPERM)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    filter_ = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL("libc.so.6", use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0):
        raise OSError(ctypes.get_errno(), "cannot set a seccomp filter")


TESTS = [("list/namespace", in_an_inner_pid_namespace), ("list/seccomp", under_the_profile_of_a_container)]

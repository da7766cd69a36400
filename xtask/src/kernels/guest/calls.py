"""Every system call, with arguments that make it fail."""
import ctypes, os, resource, signal

# exit, fork and the like, signals and waits without end, and what changes the machine, the process or its memory. By number. Each
# of them is made by a process of its own, which may do nothing else.
DANGEROUS = {
    "x86_64": {3, 4, 5, 7, *range(9, 16), 22, 23, 24, 25, 26, 28, 34, 35, 36, 37, 38, *range(56, 63), 72, 73, 95, 101, 103, 105,
               106, 109, 112, 113, 114, 116, 117, 119, 122, 123, 127, 128, 130, 131, *range(149, 156), 153, 154, 157, 158, 160,
               161, 163, *range(167, 170), *range(180, 186), 200, 202, 203, 219, 221, *range(230, 233), 234, 246, 247, 270, 271,
               272, 281, 288, 302, 308, 317, 322, 325, 329, 334, 335, 336},
    "aarch64": {24, 39, 40, 41, 51, 57, 58, 60, 72, 73, 81, *range(89, 108), 115, 116, 117, *range(118, 121), 122, 124,
                *range(128, 148), 149, 151, 152, 154, 157, 159, *range(161, 172), 203, 214, 215, 216, *range(220, 236), 237, 238,
                239, 240, 243, 260, 261, 265, 266, 267, 268, 277, 281, 282, 283, 288, 289, 290},
}
LARGEST = {"x86_64": 336, "aarch64": 291}
# From 424 on, all machines have the same numbers. Linux 6.18 has no later call; a kernel that has not all of them reports others.
NEWER = range(424, 470)
# exit, exit_group and rt_sigreturn.
WITHOUT_RETURN = {"x86_64": {15, 60, 231}, "aarch64": {93, 94, 139}}


def numbers():
    machine = os.uname().machine
    # Without those that only other machines have.
    missing = range(244, 260) if machine == "aarch64" else ()
    return [number for number in range(LARGEST[machine] + 1) if number not in missing]


def harmless():
    """Those that fail on bad descriptors and pointers, and do nothing else."""
    return [number for number in numbers() if number not in DANGEROUS[os.uname().machine]]


def dangerous():
    return [number for number in [*numbers(), *NEWER] if number in DANGEROUS[os.uname().machine] or number in NEWER]


def with_return():
    """All that `make_all` makes and that return."""
    return set(harmless() + dangerous()) - WITHOUT_RETURN[os.uname().machine]


def make(number):
    ctypes.CDLL(None).syscall(number, -1, -1, -1, -1, -1, -1)


def make_apart(number):
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    # It may not start another process, and a call that waits for ever is interrupted.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    make(number)
    os._exit(0)


def make_all():
    for number in harmless():
        make(number)
    for number in dangerous():
        make_apart(number)

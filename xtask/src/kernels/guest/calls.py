"""System calls that fail on bad descriptors and pointers, and do nothing else."""
import ctypes, os

# exit, fork and the like, signals and waits without end, and what changes the machine, the process or its memory. By number.
LEFT_OUT = {
    "x86_64": {3, 4, 5, 7, *range(9, 16), 22, 23, 24, 25, 26, 28, 34, 35, 36, 37, 38, *range(56, 63), 72, 73, 95, 101, 103, 105,
               106, 109, 112, 113, 114, 116, 117, 119, 122, 123, 127, 128, 130, 131, *range(149, 156), 153, 154, 157, 158, 160,
               161, 163, *range(167, 170), *range(180, 186), 200, 202, 203, 219, 221, *range(230, 233), 234, 246, 247, 270, 271,
               272, 281, 288, 302, 308, 317, 322, 325, 329, 334},
    "aarch64": {24, 39, 40, 41, 51, 57, 58, 60, 72, 73, 81, *range(89, 108), 115, 116, 117, *range(118, 121), 122, 124,
                *range(128, 148), 149, 151, 152, 154, 157, 159, *range(161, 172), 203, 214, 215, 216, *range(220, 236), 237, 238,
                239, 240, 243, 260, 261, 265, 266, 267, 268, 277, 281, 282, 283, 288, 289, 290},
}
LARGEST = {"x86_64": 334, "aarch64": 291}


def harmless():
    machine = os.uname().machine
    # Without those that only other machines have.
    missing = range(244, 260) if machine == "aarch64" else ()
    return [number for number in range(LARGEST[machine] + 1) if number not in LEFT_OUT[machine] and number not in missing]


def make_all():
    libc = ctypes.CDLL("libc.so.6")
    for number in harmless():
        libc.syscall(number, -1, -1, -1, -1, -1, -1)

"""Tests of trace_block: reads and writes, and what is neither."""
import fcntl, mmap, os, struct, subprocess

from session import call, count, expect, traced, write

DISK = "/dev/nvme0n1"
# ioctl, from linux/fs.h.
BLKZEROOUT = 0x127F


def write_blocks(device):
    disk = os.open(device, os.O_RDWR | os.O_DIRECT)
    data = mmap.mmap(-1, 4096)
    for block in range(8):
        os.pwrite(disk, data, 2048 * 512 + block * 8192)
    os.close(disk)


def trace_block():
    lines, _ = traced("trace_block", "", lambda: write_blocks(DISK))
    count(lines, "disk=nvme0n1 .*size=4096 operation=WRITE", 8)


def flush():
    disk = os.open(DISK, os.O_RDWR)
    os.pwrite(disk, b"x" * 4096, 0)
    os.fsync(disk)
    os.close(disk)


def flush_is_reported():
    lines, _ = traced("trace_block", "", flush)
    count(lines, "disk=nvme0n1 .*operation=FLUSH", 1)


def write_zeroes():
    disk = os.open(DISK, os.O_RDWR)
    fcntl.ioctl(disk, BLKZEROOUT, struct.pack("=QQ", 1 << 20, 64 << 10))
    os.close(disk)


def write_zeroes_is_named():
    lines, _ = traced("trace_block", "", write_zeroes)
    count(lines, "disk=nvme0n1 .*operation=WRITE_ZEROES", 1, at_least=True)


def device_without_requests():
    """zram handles each bio itself. Nothing of it is reported, as the description says."""
    subprocess.run(["modprobe", "zram"], check=True, capture_output=True)
    write("/sys/block/zram0/disksize", "16M")
    lines, _ = traced("trace_block", "", lambda: write_blocks("/dev/zram0"))
    expect(not lines, f"reported: {lines}")
    expect("zram" in call("--describe", "trace_block"), "the description does not name zram")


TESTS = [("block/flush", flush_is_reported, "trace_block"), ("block/zeroes", write_zeroes_is_named, "trace_block"),
         ("block/zram", device_without_requests, "trace_block")]

//! The size of the programs' ring buffer.

use trace_hook_api::{HookError, Request, Result};
use trace_session::check_memory;

/// The largest power of two that `max_entries` holds (32 bits, linux/bpf.h).
const LARGEST: u64 = 1 << 31;

/// The default size, in bytes: some 50,000 records of an opened file.
const DEFAULT: u32 = 8 << 20;

/// The size of the one ring buffer for all CPUs, in bytes: a power of two.
///
/// # Errors
///
/// The requested size is too large for the kernel, or for the memory of this machine.
pub fn ring_buffer_size(request: &Request) -> Result<u32> {
    let Some(kib) = request.buffer_size else { return Ok(DEFAULT) };
    check_memory(kib, &request.environment.procfs)?;
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    let bytes = kib.saturating_mul(1024).saturating_mul(cpus).max(page_size());
    match bytes.checked_next_power_of_two() {
        Some(bytes) if bytes <= LARGEST => Ok(bytes as u32),
        _ => Err(HookError::usage(format!(
            "a buffer of {kib} KiB for each of {cpus} CPUs is too large for the kernel; give at most {} KiB",
            LARGEST / 1024 / cpus
        ))),
    }
}

/// The size of the stack of a task in the kernel (`THREAD_SIZE`), which is at least one page.
pub fn kernel_stack_size() -> u64 {
    const USUAL: u64 = 16 << 10;
    page_size().max(USUAL)
}

/// The size of a page of memory.
fn page_size() -> u64 {
    // SAFETY: the call takes and returns plain numbers.
    let size = unsafe { nix::libc::sysconf(nix::libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

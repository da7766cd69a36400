//! The size of the ring buffer.

use trace_hook_api::{HookError, Request, Result};
use trace_session::check_memory;

/// The default size of the ring buffer, in bytes: some 50,000 records of all CPUs.
const BUFFER: u64 = 8 << 20;
/// The largest power of two that `max_entries` holds (32 bits, linux/bpf.h).
const LARGEST_BUFFER: u64 = 1 << 31;

/// The size of the one ring buffer for all CPUs: a power of two.
pub fn buffer_size(request: &Request) -> Result<u32> {
    let Some(kib) = request.buffer_size else { return Ok(BUFFER as u32) };
    check_memory(kib, &request.environment.procfs)?;
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    let bytes = kib.saturating_mul(1024).saturating_mul(cpus).max(page_size());
    match bytes.checked_next_power_of_two() {
        Some(bytes) if bytes <= LARGEST_BUFFER => Ok(bytes as u32),
        _ => Err(HookError::usage(format!(
            "a buffer of {kib} KiB for each of {cpus} CPUs is too large for the kernel; give at most {} KiB",
            LARGEST_BUFFER / 1024 / cpus
        ))),
    }
}

fn page_size() -> u64 {
    // SAFETY: the call takes and returns plain numbers.
    let size = unsafe { nix::libc::sysconf(nix::libc::_SC_PAGESIZE) };
    u64::try_from(size).unwrap_or(4096)
}

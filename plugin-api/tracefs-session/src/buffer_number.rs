//! Numbers for the per-CPU buffers of one or two instances.
//!
//! In the first instance the number of a buffer is that of its CPU; in the second it is higher by [`SECOND_INSTANCE`].

/// More CPUs than any kernel has.
const SECOND_INSTANCE: u32 = 1 << 16;

/// The number of a CPU's buffer in the second instance.
pub fn in_second(cpu: u32) -> u32 {
    cpu + SECOND_INSTANCE
}

/// Whether the buffer is one of the second instance.
pub fn is_in_second(buffer: u32) -> bool {
    buffer >= SECOND_INSTANCE
}

/// The CPU that writes to the buffer.
pub fn cpu(buffer: u32) -> u32 {
    buffer % SECOND_INSTANCE
}

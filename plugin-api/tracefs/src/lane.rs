//! Which ring buffer a page comes from, where a stream has the buffers of two instances.
//!
//! A lane is the buffer of one CPU in one instance. Its number is that of the CPU; in the second instance it is so much
//! higher.

/// More CPUs than any kernel has.
const SECOND_INSTANCE: u32 = 1 << 16;

/// The lane of a CPU in the second instance.
pub fn in_second(cpu: u32) -> u32 {
    cpu + SECOND_INSTANCE
}

/// Whether the lane is one of the second instance.
pub fn is_in_second(lane: u32) -> bool {
    lane >= SECOND_INSTANCE
}

/// The CPU that writes to the lane.
pub fn cpu(lane: u32) -> u32 {
    lane % SECOND_INSTANCE
}

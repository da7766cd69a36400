//! The kernel's perf events (perf_event_open(2)), as far as the hooks need them.

mod attributes;
mod event;
mod record;
mod ring;

pub use attributes::{Attributes, Frames, Inherit, Kind};
pub use event::{Event, Reading};
pub use record::{Body, Mapping, Record, Records};
pub use ring::Ring;

use nix::time::{ClockId, clock_gettime};

/// The clock of all events and lines: that of the kernel's CLOCK_MONOTONIC, in nanoseconds since boot.
pub fn now() -> u64 {
    let time =
        clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap_or_else(|_| nix::sys::time::TimeSpec::new(0, 0));
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

//! The kernel's perf events (perf_event_open(2)): what the hooks need of them.

mod attributes;
mod clock_offset;
mod event;
mod record;
mod ring;

pub use attributes::{Attributes, Frames, Inherit, Kind};
pub use clock_offset::ClockOffset;
pub use event::{Event, Reading, Subject};
pub use record::{Body, Record, Records};
pub use ring::Ring;

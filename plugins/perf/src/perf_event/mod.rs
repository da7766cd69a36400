//! The kernel's perf events (perf_event_open(2)), as far as the hooks need them.

mod attributes;
mod clock;
mod event;
mod record;
mod ring;

pub use attributes::{Attributes, Frames, Inherit, Kind};
pub use clock::{Ahead, now};
pub use event::{Event, Reading};
pub use record::{Body, Mapping, Record, Records};
pub use ring::Ring;

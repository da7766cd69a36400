//! Times.

use super::{Field, FieldKind, Layout, field, number, whole};
use crate::argument_type::ArgumentType::{Int, Long};

/// `struct __kernel_timespec`.
pub const TIME_SPECIFICATION: Layout =
    whole(16, &[number("tv_sec", 0, 8, Long), number("tv_nsec", 8, 8, Long)]);
/// `struct old_timespec32`.
pub const COMPAT_TIME_SPECIFICATION: Layout =
    whole(8, &[number("tv_sec", 0, 4, Int), number("tv_nsec", 4, 4, Int)]);
/// `struct __kernel_old_timeval`.
pub const TIME_VALUE: Layout = whole(16, &[number("tv_sec", 0, 8, Long), number("tv_usec", 8, 8, Long)]);
/// `struct old_timeval32`.
pub const COMPAT_TIME_VALUE: Layout = whole(8, &[number("tv_sec", 0, 4, Int), number("tv_usec", 4, 4, Int)]);
/// `struct timezone`.
pub const TIME_ZONE: Layout =
    whole(8, &[number("tz_minuteswest", 0, 4, Int), number("tz_dsttime", 4, 4, Int)]);

const fn two(size: u16, layout: &'static Layout) -> [Field; 2] {
    [
        field("it_interval", 0, size, FieldKind::Structure(layout)),
        field("it_value", size, size, FieldKind::Structure(layout)),
    ]
}

/// `struct __kernel_itimerspec`.
pub const INTERVALS: Layout = whole(32, &two(16, &TIME_SPECIFICATION));
/// `struct old_itimerspec32`.
pub const COMPAT_INTERVALS: Layout = whole(16, &two(8, &COMPAT_TIME_SPECIFICATION));
/// `struct __kernel_old_itimerval`.
pub const INTERVAL_VALUES: Layout = whole(32, &two(16, &TIME_VALUE));

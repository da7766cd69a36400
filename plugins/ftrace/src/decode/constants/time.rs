//! Clocks and timers.

use crate::decode::meaning::Meaning;
use crate::names::{Names, names};

const CLOCK: Names = names![
    CLOCK_REALTIME CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID CLOCK_THREAD_CPUTIME_ID CLOCK_MONOTONIC_RAW
    CLOCK_REALTIME_COARSE CLOCK_MONOTONIC_COARSE CLOCK_BOOTTIME CLOCK_REALTIME_ALARM CLOCK_BOOTTIME_ALARM CLOCK_TAI
];
const SLEEP: Names = names![TIMER_ABSTIME];
const TIMERFD: Names = names![TFD_CLOEXEC TFD_NONBLOCK];
const TIMERFD_SET: Names = names![TFD_TIMER_ABSTIME TFD_TIMER_CANCEL_ON_SET];
const INTERVAL: Names = &[(0, "ITIMER_REAL"), (1, "ITIMER_VIRTUAL"), (2, "ITIMER_PROF")];

pub fn meaning(call: &str, parameter: &str) -> Option<Meaning> {
    Some(match (call, parameter) {
        (_, "which_clock") | ("timerfd_create", "clockid") => Meaning::One(CLOCK),
        ("clock_nanosleep" | "timer_settime", "flags") => Meaning::Flags(SLEEP),
        ("timerfd_create", "flags") => Meaning::Flags(TIMERFD),
        ("timerfd_settime", "flags") => Meaning::Flags(TIMERFD_SET),
        ("getitimer" | "setitimer", "which") => Meaning::One(INTERVAL),
        _ => return None,
    })
}

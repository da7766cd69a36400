//! Clocks and timers.

use crate::argument_type::ArgumentType;
use crate::constants::{Constants, constants};

const CLOCK: Constants = constants![
    CLOCK_REALTIME CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID CLOCK_THREAD_CPUTIME_ID CLOCK_MONOTONIC_RAW
    CLOCK_REALTIME_COARSE CLOCK_MONOTONIC_COARSE CLOCK_BOOTTIME CLOCK_REALTIME_ALARM CLOCK_BOOTTIME_ALARM CLOCK_TAI
];
const TIMER: Constants = constants![TIMER_ABSTIME];
const TIMERFD: Constants = constants![TFD_CLOEXEC TFD_NONBLOCK];
const TIMERFD_SET: Constants = constants![TFD_TIMER_ABSTIME TFD_TIMER_CANCEL_ON_SET];
const ITIMER: Constants = &[(0, "ITIMER_REAL"), (1, "ITIMER_VIRTUAL"), (2, "ITIMER_PROF")];

pub fn argument_type(call: &str, parameter: &str) -> Option<ArgumentType> {
    Some(match (call, parameter) {
        (_, "which_clock") | ("timerfd_create", "clockid") => ArgumentType::Constant(CLOCK),
        ("clock_nanosleep" | "timer_settime", "flags") => ArgumentType::Flags(TIMER),
        ("timerfd_create", "flags") => ArgumentType::Flags(TIMERFD),
        ("timerfd_settime", "flags") => ArgumentType::Flags(TIMERFD_SET),
        ("getitimer" | "setitimer", "which") => ArgumentType::Constant(ITIMER),
        _ => return None,
    })
}

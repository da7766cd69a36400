//! Clocks and timers.

use super::Content::{Numbers, Structure, Structures};
use super::NumberKind::Signed;
use super::{Count, Pointee, When, all_given, given, written};
use crate::layouts::{
    COMPAT_INTERVALS, COMPAT_TIME_SPECIFICATION, COMPAT_TIME_VALUE, INTERVAL_VALUES, INTERVALS,
    TIME_SPECIFICATION, TIME_VALUE, TIME_ZONE,
};

const fn left(content: super::Content) -> Pointee {
    Pointee { content, when: When::AnyReturn, count: Count::One }
}

/// In a 32-bit program, the calls whose names end in `64` have times of 64 bits.
pub fn pointees(call: &str, parameter: &str, is_compat: bool) -> Option<&'static [Pointee]> {
    if call == "gettimeofday" || call == "settimeofday" {
        if parameter == "tz" {
            return Some(const { &[written(Structure(&TIME_ZONE))] });
        }
        return Some(match is_compat {
            true => const { &[written(Structure(&COMPAT_TIME_VALUE))] },
            false => const { &[written(Structure(&TIME_VALUE))] },
        });
    }
    let long_call = call.strip_suffix("_time64").or_else(|| call.strip_suffix("64"));
    match (is_compat, long_call) {
        (true, Some(call)) => of_64_bits(call, parameter),
        (true, None) => of_32_bits(call, parameter),
        (false, _) => of_64_bits(call, parameter).or_else(|| of_native(call, parameter)),
    }
}

fn of_64_bits(call: &str, parameter: &str) -> Option<&'static [Pointee]> {
    Some(match (call, parameter) {
        ("clock_gettime" | "clock_getres", "tp") | ("sched_rr_get_interval", "interval") => {
            const { &[written(Structure(&TIME_SPECIFICATION))] }
        }
        ("clock_settime", "tp") | ("nanosleep" | "clock_nanosleep", "rqtp") => {
            const { &[given(Structure(&TIME_SPECIFICATION))] }
        }
        ("ppoll" | "pselect6", "tsp") => {
            const { &[given(Structure(&TIME_SPECIFICATION)), left(Structure(&TIME_SPECIFICATION))] }
        }
        ("nanosleep" | "clock_nanosleep", "rmtp") => const { &[interrupted(Structure(&TIME_SPECIFICATION))] },
        ("rt_sigtimedwait", "uts")
        | ("epoll_pwait2" | "recvmmsg" | "io_pgetevents" | "semtimedop", "timeout")
        | ("futex", "utime")
        | ("mq_timedsend" | "mq_timedreceive", "u_abs_timeout") => {
            const { &[given(Structure(&TIME_SPECIFICATION))] }
        }
        ("utimensat", "utimes") => const { &[two(Structures(&TIME_SPECIFICATION))] },
        ("timerfd_settime", "utmr") | ("timer_settime", "new_setting") => {
            const { &[given(Structure(&INTERVALS))] }
        }
        ("timerfd_settime" | "timerfd_gettime", "otmr")
        | ("timer_settime", "old_setting")
        | ("timer_gettime", "setting") => const { &[written(Structure(&INTERVALS))] },
        _ => return None,
    })
}

fn of_native(call: &str, parameter: &str) -> Option<&'static [Pointee]> {
    Some(match (call, parameter) {
        ("setitimer", "value") => const { &[given(Structure(&INTERVAL_VALUES))] },
        ("setitimer", "ovalue") | ("getitimer", "value") => const { &[written(Structure(&INTERVAL_VALUES))] },
        ("select", "tvp") => const { &[given(Structure(&TIME_VALUE)), left(Structure(&TIME_VALUE))] },
        ("utimes" | "futimesat", "utimes") => const { &[two(Structures(&TIME_VALUE))] },
        ("time", "tloc") => const { &[written(Numbers(8, Signed))] },
        _ => return None,
    })
}

fn of_32_bits(call: &str, parameter: &str) -> Option<&'static [Pointee]> {
    Some(match (call, parameter) {
        ("clock_gettime" | "clock_getres", "tp") | ("sched_rr_get_interval", "interval") => {
            const { &[written(Structure(&COMPAT_TIME_SPECIFICATION))] }
        }
        ("clock_settime", "tp")
        | ("nanosleep" | "clock_nanosleep", "rqtp")
        | ("ppoll" | "pselect6", "tsp")
        | ("rt_sigtimedwait", "uts")
        | ("futex", "utime") => const { &[given(Structure(&COMPAT_TIME_SPECIFICATION))] },
        ("utimensat", "utimes") => const { &[two(Structures(&COMPAT_TIME_SPECIFICATION))] },
        ("timerfd_settime", "utmr") | ("timer_settime", "new_setting") => {
            const { &[given(Structure(&COMPAT_INTERVALS))] }
        }
        ("timerfd_settime" | "timerfd_gettime", "otmr") => const { &[written(Structure(&COMPAT_INTERVALS))] },
        ("_newselect", "tvp") => const { &[given(Structure(&COMPAT_TIME_VALUE))] },
        ("utimes" | "futimesat", "utimes") => const { &[two(Structures(&COMPAT_TIME_VALUE))] },
        ("time", "tloc") => const { &[written(Numbers(4, Signed))] },
        _ => return None,
    })
}

/// Two of them.
const fn two(content: super::Content) -> Pointee {
    all_given(content, Count::Fixed(2))
}

/// Written only when a signal interrupts the call.
const fn interrupted(content: super::Content) -> Pointee {
    Pointee { content, when: When::Interrupted, count: Count::One }
}

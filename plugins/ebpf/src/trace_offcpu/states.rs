//! The states of tasks without a CPU (`TASK_…` in include/linux/sched.h).

/// The words for them.
pub const STATES: [&str; 9] = [
    "runnable",
    "interruptible",
    "uninterruptible",
    "killable",
    "idle",
    "stopped",
    "traced",
    "parked",
    "other",
];

const INTERRUPTIBLE: u32 = 1;
const UNINTERRUPTIBLE: u32 = 2;
const STOPPED: u32 = 4;
const TRACED: u32 = 8;
const PARKED: u32 = 0x40;
const WAKE_KILL: u32 = 0x100;
const NO_LOAD: u32 = 0x400;

/// The word for the bits of a state.
pub fn name(state: u32) -> &'static str {
    let has = |bits| state & bits == bits;
    match state {
        0 => "runnable",
        _ if has(STOPPED) => "stopped",
        _ if has(TRACED) => "traced",
        _ if has(PARKED) => "parked",
        _ if has(UNINTERRUPTIBLE | WAKE_KILL) => "killable",
        _ if has(UNINTERRUPTIBLE | NO_LOAD) => "idle",
        _ if has(UNINTERRUPTIBLE) => "uninterruptible",
        _ if has(INTERRUPTIBLE) => "interruptible",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_words() {
        let words = [0, 1, 0x2001, 2, 0x102, 0x402, 0x104, 0x108, 0x40, 0x1000].map(name);
        let expected = ["runnable", "interruptible", "interruptible", "uninterruptible", "killable"];
        assert_eq!(words[..5], expected);
        assert_eq!(words[5..], ["idle", "stopped", "traced", "parked", "other"]);
        assert!((0..1 << 14).all(|state| STATES.contains(&name(state))));
    }
}

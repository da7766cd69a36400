//! `/proc/PID/stat`, the state of a process or thread (proc_pid_stat(5)).

/// The state.
pub fn state(stat: &[u8]) -> Option<u8> {
    fields(stat)?.next()?.first().copied()
}

/// The number of threads.
pub fn threads(stat: &[u8]) -> Option<usize> {
    str::from_utf8(fields(stat)?.nth(17)?).ok()?.parse().ok()
}

/// The fields from the state on. It follows the name, which can contain any character, including parentheses.
fn fields(stat: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    Some(stat.get(name_end + 2..)?.split(|byte| *byte == b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_hide_the_state() {
        assert_eq!(state(b"1 (a) S) Z 0"), Some(b'Z'));
        assert_eq!(state(b"1 (a) S 0"), Some(b'S'));
        assert_eq!(state(b"1 (a)"), None);
    }

    #[test]
    fn threads_of_this_process_are_counted() {
        let stat = std::fs::read("/proc/self/stat").unwrap();
        assert!(threads(&stat).unwrap() >= 2, "the tests run in a thread of their own");
        assert_eq!(threads(b"1 (a) S 0"), None);
    }
}

//! `/proc/PID/stat`, the state of a process or thread (proc_pid_stat(5)).

/// The state. It follows the name, which can contain any character, including parentheses.
pub fn state(stat: &[u8]) -> Option<u8> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(name_end + 2).copied()
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
}

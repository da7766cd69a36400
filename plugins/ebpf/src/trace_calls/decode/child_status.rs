//! The status of a child (wait(2)), as strace prints it.

use trace_hook_api::Composite;
use trace_syscalls::signal_name;

use super::bytes::unsigned;

/// The status in these bytes; `None` if there are none.
pub fn of(bytes: &[u8]) -> Option<Composite<'static>> {
    if bytes.len() < 4 {
        return None;
    }
    let status = unsigned(&bytes[..4]) as u32;
    let (low, high) = (status & 0x7f, status >> 8 & 0xff);
    let name = |signal: u32| signal_name(signal.cast_signed()).into_owned();
    let text = match (status & 0xffff, low) {
        (0xffff, _) => "{WIFCONTINUED(s)}".to_owned(),
        (_, 0x7f) => format!("{{WIFSTOPPED(s) && WSTOPSIG(s) == {}}}", name(high)),
        (_, 0) => format!("{{WIFEXITED(s) && WEXITSTATUS(s) == {high}}}"),
        _ => {
            let core = if status & 0x80 == 0 { "" } else { " && WCOREDUMP(s)" };
            format!("{{WIFSIGNALED(s) && WTERMSIG(s) == {}{core}}}", name(low))
        }
    };
    Some(Composite::list([Composite::word(text)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_shown_by_its_macros() {
        let shown = |status: u32| match of(&status.to_le_bytes()) {
            Some(Composite::List { items, .. }) => items[0].clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(shown(3 << 8), Composite::word("{WIFEXITED(s) && WEXITSTATUS(s) == 3}"));
        assert_eq!(shown(9), Composite::word("{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}"));
        assert_eq!(
            shown(0x8b),
            Composite::word("{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}")
        );
        assert_eq!(shown(0x137f), Composite::word("{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}"));
        assert_eq!(shown(0xffff), Composite::word("{WIFCONTINUED(s)}"));
        assert_eq!(of(&[1]), None);
    }
}

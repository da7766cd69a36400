/// The line that reports lost events: `CPU:1 [LOST 5 EVENTS]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The CPU whose events were lost.
    pub cpu: u32,
    /// How many; 0 in a line without a number, which is a notice ahead of the backlog. The number follows where the gap is.
    pub count: usize,
}

impl Loss {
    /// Parses such a line; `None` for any other line.
    ///
    /// # Panics
    ///
    /// If the line has neither a number nor the form of a notice.
    #[track_caller]
    pub fn of(line: &str) -> Option<Self> {
        // An event's line begins with a blank, whatever the name of its task.
        let rest = line.strip_prefix("CPU:")?;
        let parsed = rest.strip_suffix("EVENTS]").and_then(|rest| {
            let (cpu, count) = rest.split_once(" [LOST ")?;
            let count = if count.is_empty() { 0 } else { count.strip_suffix(' ')?.parse().ok()? };
            Some(Self { cpu: cpu.parse().ok()?, count })
        });
        Some(parsed.unwrap_or_else(|| panic!("a malformed loss: {line:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_distinguished_from_events() {
        assert_eq!(Loss::of("CPU:1 [LOST 5 EVENTS]"), Some(Loss { cpu: 1, count: 5 }));
        assert_eq!(Loss::of("  CPU:1 [LOST 5 -12      [000] .....   1.000001: sys_getppid()"), None);
    }

    #[test]
    fn a_notice_has_no_number() {
        assert_eq!(Loss::of("CPU:1 [LOST EVENTS]"), Some(Loss { cpu: 1, count: 0 }));
    }

    #[test]
    #[should_panic(expected = "a malformed loss")]
    fn a_malformed_loss_is_rejected() {
        Loss::of("CPU:1 [LOST many EVENTS]");
    }
}

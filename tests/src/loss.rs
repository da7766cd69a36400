/// The line that reports lost events: `CPU:1 [LOST 5 EVENTS]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The CPU whose events were lost.
    pub cpu: u32,
    /// How many.
    pub count: usize,
}

impl Loss {
    /// Parses such a line; `None` for any other line.
    ///
    /// # Panics
    ///
    /// If the line does not have a number.
    #[track_caller]
    pub fn of(line: &str) -> Option<Self> {
        // An event's line begins with a blank, whatever the name of its task.
        let rest = line.strip_prefix("CPU:")?;
        let parsed = rest.strip_suffix(" EVENTS]").and_then(|rest| {
            let (cpu, count) = rest.split_once(" [LOST ")?;
            Some(Self { cpu: cpu.parse().ok()?, count: count.parse().ok()? })
        });
        Some(parsed.unwrap_or_else(|| panic!("a loss without a number: {line:?}")))
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
    #[should_panic(expected = "a loss without a number")]
    fn a_loss_without_a_number_is_rejected() {
        Loss::of("CPU:1 [LOST EVENTS]");
    }
}

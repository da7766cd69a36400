/// The line that tells of events that were lost: `CPU:1 [LOST 5 EVENTS]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The CPU whose events they were.
    pub cpu: u32,
    /// How many.
    pub count: usize,
}

impl Loss {
    /// Reads such a line. None: it tells of something else.
    ///
    /// # Panics
    ///
    /// If it does not say how many.
    #[track_caller]
    pub fn of(line: &str) -> Option<Self> {
        // A task's line begins with a blank, whatever its name.
        let rest = line.strip_prefix("CPU:")?;
        let parsed = rest.strip_suffix(" EVENTS]").and_then(|rest| {
            let (cpu, count) = rest.split_once(" [LOST ")?;
            Some(Self { cpu: cpu.parse().ok()?, count: count.parse().ok()? })
        });
        Some(parsed.unwrap_or_else(|| panic!("how many are lost? {line:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_from_an_event() {
        assert_eq!(Loss::of("CPU:1 [LOST 5 EVENTS]"), Some(Loss { cpu: 1, count: 5 }));
        assert_eq!(Loss::of("  CPU:1 [LOST 5 -12      [000] .....   1.000001: sys_getppid()"), None);
    }

    #[test]
    #[should_panic(expected = "how many")]
    fn a_loss_without_a_number_is_none() {
        Loss::of("CPU:1 [LOST EVENTS]");
    }
}

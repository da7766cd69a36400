/// A line of a trace in the kernel's own format:
/// `            sh-1234    [001] .....  1580.993115: sys_getppid()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// The name of the task, or `<...>` where the kernel does not know it.
    pub task: &'a str,
    /// The tid of the task.
    pub id: u32,
    /// The event: `sys_getppid()`.
    pub what: &'a str,
}

impl<'a> Event<'a> {
    /// Parses a line.
    ///
    /// # Panics
    ///
    /// If the line does not have the kernel's format, to the column.
    #[track_caller]
    pub fn of(line: &'a str) -> Self {
        Self::parse(line).unwrap_or_else(|| panic!("not in the kernel's format: {line:?}"))
    }

    /// The kernel's format is `%16s-%-7d [%03d] `, five flags, ` %5lu.%06lu: `, and the event.
    fn parse(line: &'a str) -> Option<Self> {
        let (task, rest) = line.split_at_checked(16)?;
        let (id, rest) = rest.strip_prefix('-')?.split_once(" [")?;
        let (cpu, rest) = rest.split_once("] ")?;
        let (flags, rest) = rest.split_at_checked(5)?;
        let (time, what) = rest.strip_prefix(' ')?.split_once(": ")?;
        let well_formed = id.len() >= 7
            && cpu.len() == 3
            && cpu.bytes().all(|digit| digit.is_ascii_digit())
            && flags.bytes().all(|flag| flag == b'.' || flag.is_ascii_alphanumeric() || flag == b'#')
            && is_time(time);
        well_formed.then_some(Self { task: task.trim_start(), id: id.trim_end().parse().ok()?, what })
    }
}

/// Whether this is a time in the kernel's format, in seconds and microseconds: ` 1580.993115`.
fn is_time(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let Some((seconds, micros)) = text.split_once('.') else {
        return false;
    };
    text.len() >= 12 && digits(seconds.trim_start()) && micros.len() == 6 && digits(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_parsed() {
        let line = "         python3-7489    [001] .....  1580.993123: sys_getppid -> 0x1d3d";
        assert_eq!(Event::of(line), Event { task: "python3", id: 7489, what: "sys_getppid -> 0x1d3d" });
    }

    #[test]
    fn other_formats_are_rejected() {
        assert_eq!(Event::parse("python3-7489 [001] ..... 1580.993123: sys_getppid()"), None);
        assert_eq!(Event::parse("         python3-7489    [001] .....  1580.99: sys_getppid()"), None);
        assert_eq!(Event::parse("CPU:1 [LOST 5 EVENTS]"), None);
    }
}

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Identifies a process among all that ever have the same id: by the id, and by its start time in clock ticks since
/// boot (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessIdentity {
    pid: u32,
    started: u64,
}

impl ProcessIdentity {
    /// The identity of this process, with the id that it has in this procfs.
    pub fn own(procfs: &Path) -> Option<Self> {
        let stat = Stat::read(procfs, "self")?;
        Some(Self { pid: stat.pid, started: stat.started })
    }

    /// Whether the process has ended with all its threads, so that the kernel has closed all its files.
    pub fn is_gone(&self, procfs: &Path) -> bool {
        Stat::read(procfs, &self.pid.to_string())
            .is_none_or(|stat| stat.started != self.started || (stat.is_zombie && stat.threads <= 1))
    }
}

impl fmt::Display for ProcessIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.started)
    }
}

impl FromStr for ProcessIdentity {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (pid, started) = text.split_once(' ').unwrap_or_default();
        Ok(Self { pid: pid.parse()?, started: started.parse()? })
    }
}

struct Stat {
    pid: u32,
    is_zombie: bool,
    threads: u32,
    started: u64,
}

impl Stat {
    fn read(procfs: &Path, process: &str) -> Option<Self> {
        Self::parse(&std::fs::read(procfs.join(process).join("stat")).ok()?)
    }

    /// The fields are counted from the end of the name, which can contain any character, including parentheses.
    fn parse(stat: &[u8]) -> Option<Self> {
        let name_end = stat.iter().rposition(|byte| *byte == b')')?;
        let pid = String::from_utf8_lossy(stat).split(' ').next()?.parse().ok()?;
        let rest = String::from_utf8_lossy(stat.get(name_end + 2..)?).into_owned();
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let state = *fields.first()?;
        Some(Self {
            pid,
            is_zombie: matches!(state, "Z" | "X" | "x"),
            threads: fields.get(17)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_parses_despite_parentheses_in_name() {
        let stat = b"12 (a) Z 1) S 1 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 3 0 4711 1 1\n";
        let stat = Stat::parse(stat).unwrap();
        assert_eq!((stat.pid, stat.is_zombie, stat.threads, stat.started), (12, false, 3, 4711));
    }

    #[test]
    fn earlier_process_with_same_id_is_gone() {
        let procfs = Path::new("/proc");
        let own = ProcessIdentity::own(procfs).unwrap();
        assert!(!own.is_gone(procfs));
        assert!(ProcessIdentity { started: own.started - 1, ..own }.is_gone(procfs));
        assert_eq!(own.to_string().parse(), Ok(own));
    }
}

//! The name of a process that is counted.

use std::fs::File;
use std::os::unix::fs::FileExt;

use trace_tasks::{Pid, Procfs, WatchedTask};

/// The longest name, and a newline (`TASK_COMM_LEN`, and kernel threads with longer ones).
const LONGEST: usize = 64;

/// The name of a process. Its files are open, so that another process with the same id is not taken for it.
#[derive(Debug)]
pub struct ProcessName {
    comm: Option<File>,
    watched: Option<WatchedTask>,
    last: Vec<u8>,
}

impl ProcessName {
    /// Reads the name of this process.
    pub fn of(procfs: &Procfs, process: Pid) -> Self {
        let comm = File::open(procfs.root().join(format!("{process}/comm"))).ok();
        let last = comm.as_ref().and_then(read).unwrap_or_default();
        Self { comm, watched: WatchedTask::open(procfs, process), last }
    }

    /// The present name of the process, if it is counted or a zombie; otherwise the last one that was read.
    pub fn update(&mut self, is_counted: impl FnOnce() -> bool) -> &[u8] {
        let is_alive = |watched: &WatchedTask| watched.is_alive();
        // Before it is known that the process is still counted.
        let name = self.comm.as_ref().and_then(read);
        if let Some(name) = name
            && (is_counted() || !self.watched.as_ref().is_some_and(is_alive))
        {
            self.last = name;
        }
        &self.last
    }
}

/// `None` if the process has been waited for.
fn read(comm: &File) -> Option<Vec<u8>> {
    let mut name = [0; LONGEST];
    let length = comm.read_at(&mut name, 0).ok().filter(|length| *length > 0)?;
    let name = &name[..length];
    Some(name.strip_suffix(b"\n").unwrap_or(name).to_vec())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn name_of_a_process_that_is_not_counted_is_kept() {
        let procfs = Procfs::at(Path::new("/proc"));
        let script = "read go; exec cat";
        let mut child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        let mut name = ProcessName::of(&procfs, child.id());
        let becomes = |name: &ProcessName, program: &[u8]| {
            while read(name.comm.as_ref().unwrap()).as_deref() != Some(program) {
                std::thread::yield_now();
            }
        };
        becomes(&name, b"sh");
        assert_eq!(name.update(|| true), b"sh");
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, b"go\n").unwrap();
        becomes(&name, b"cat");
        assert_eq!(name.update(|| false), b"sh");
        assert_eq!(name.update(|| true), b"cat");
        drop(stdin);
        child.wait().unwrap();
        assert_eq!(name.update(|| false), b"cat");
        assert_eq!(read(name.comm.as_ref().unwrap()), None);
    }
}

//! What an address in a program is part of.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use tracefs::Pid;

/// The files that processes have mapped, as procfs has them.
#[derive(Debug)]
pub struct Mappings {
    procfs: PathBuf,
    known: HashMap<Pid, Vec<Mapping>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapping {
    from: u64,
    to: u64,
    offset: u64,
    name: OsString,
}

impl Mappings {
    pub fn new(procfs: PathBuf) -> Self {
        Self { procfs, known: HashMap::new() }
    }

    /// The file and the place in it, such as `/usr/bin/cc+0x5120`; the bare address where it is none of a file, or the process
    /// is gone.
    pub fn place(&mut self, process: Pid, address: u64) -> Vec<u8> {
        let mapping = self.find(process, address).or_else(|| {
            // It may have mapped more since.
            self.known.remove(&process);
            self.find(process, address)
        });
        match mapping {
            Some(Mapping { from, offset, name, .. }) => {
                let place = format!("+{:#x}", address - from + offset);
                [name.as_bytes(), place.as_bytes()].concat()
            }
            None => format!("{address:#x}").into_bytes(),
        }
    }

    /// Looks at the processes anew from now on: one may run another program by then.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    fn find(&mut self, process: Pid, address: u64) -> Option<Mapping> {
        let procfs = &self.procfs;
        let mappings = self.known.entry(process).or_insert_with(|| {
            let maps = fs::read(procfs.join(process.to_string()).join("maps")).unwrap_or_default();
            maps.split(|byte| *byte == b'\n').filter_map(Mapping::parse).collect()
        });
        mappings.iter().find(|mapping| (mapping.from..mapping.to).contains(&address)).cloned()
    }
}

impl Mapping {
    /// `55d0c0a00000-55d0c0a02000 r-xp 00001000 fe:00 1234    /usr/bin/cat` (proc_pid_maps(5)).
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = line.splitn(6, |byte| *byte == b' ');
        let mut word = || str::from_utf8(words.next()?).ok();
        let (from, to) = word()?.split_once('-')?;
        let (_access, offset, _device, _inode) = (word()?, word()?, word()?, word()?);
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let name = words.next()?.trim_ascii_start();
        if name.is_empty() {
            return None;
        }
        let name = OsString::from_vec(name.to_vec());
        Some(Self { from: hex(from)?, to: hex(to)?, offset: hex(offset)?, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_place_in_a_file() {
        let procfs = tempfile::tempdir().unwrap();
        fs::create_dir(procfs.path().join("7")).unwrap();
        let maps =
            "1000-3000 r-xp 00005000 fe:00 1234      /usr/bin/my cat\n4000-5000 rw-p 00000000 00:00 0 \n";
        fs::write(procfs.path().join("7/maps"), maps).unwrap();
        let mut mappings = Mappings::new(procfs.path().to_owned());
        assert_eq!(mappings.place(7, 0x1120), b"/usr/bin/my cat+0x5120");
        assert_eq!(mappings.place(7, 0x4120), b"0x4120");
        assert_eq!(mappings.place(8, 0x1120), b"0x1120");
        fs::write(procfs.path().join("7/maps"), "4000-5000 r-xp 00000000 fe:00 9 /usr/lib/new.so\n").unwrap();
        assert_eq!(mappings.place(7, 0x4120), b"/usr/lib/new.so+0x120");
    }
}

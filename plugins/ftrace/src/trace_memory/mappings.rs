//! What an address in a program is part of.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use trace_tasks::{MappedRange, Pid, mapped_ranges};

/// The files that processes run code of, as procfs has them.
///
/// It has them only as long as a process is there. So a process is looked at when it is first asked for, and what is found
/// is kept. From one look to the next, none is looked at twice.
#[derive(Debug)]
pub struct Mappings {
    procfs: PathBuf,
    known: HashMap<Pid, Process>,
    look: u64,
}

/// A process as it was when it was last found to be there.
#[derive(Debug, Default)]
struct Process {
    code: Vec<Mapping>,
    /// The look at which it was looked for. None: not since it was last [told of](Mappings::told).
    looked_for: Option<u64>,
    /// Somebody has asked for it since it was last told of.
    is_wanted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapping {
    addresses: Range<u64>,
    offset: u64,
    /// Nothing: it is of no file.
    name: Vec<u8>,
}

impl Mappings {
    pub fn new(procfs: PathBuf) -> Self {
        Self { procfs, known: HashMap::new(), look: 0 }
    }

    /// What comes from now on is newer than what was found so far.
    pub fn next_look(&mut self) {
        self.look += 1;
    }

    /// The file and the place in it, such as `/usr/bin/cc+0x5120`; the bare address where it is of no file. None, as long
    /// as that is not known: the process may have mapped more since it was looked at, or may have been gone before.
    pub fn place(&mut self, process: Pid, address: u64) -> Option<Vec<u8>> {
        let (procfs, look) = (&self.procfs, self.look);
        let known = self.known.entry(process).or_default();
        known.is_wanted = true;
        // It may run another program since it was told of.
        let is_old = known.looked_for.is_none();
        let found = known.place(address).filter(|_| !is_old);
        if found.is_some() || known.looked_for == Some(look) {
            return found;
        }
        known.looked_for = Some(look);
        let maps = fs::read(procfs.join(process.to_string()).join("maps")).unwrap_or_default();
        let code: Vec<Mapping> =
            mapped_ranges(&maps).filter(MappedRange::is_code).map(Mapping::from).collect();
        // Of one that is gone, what was there holds.
        if !code.is_empty() {
            known.code = code;
        }
        known.place(address)
    }

    /// What was asked for is told. Processes that are gone, and that nobody has asked for since the last time, are forgotten.
    pub fn told(&mut self) {
        let is_there = |process: Pid| self.procfs.join(process.to_string()).exists();
        self.known.retain(|pid, process| std::mem::take(&mut process.is_wanted) || is_there(*pid));
        self.known.values_mut().for_each(|process| process.looked_for = None);
    }
}

impl Process {
    fn place(&self, address: u64) -> Option<Vec<u8>> {
        let mapping = self.code.iter().find(|mapping| mapping.addresses.contains(&address))?;
        Some(match mapping.name.as_slice() {
            [] => bare(address),
            name => {
                let place =
                    format!("+{:#x}", (address - mapping.addresses.start).wrapping_add(mapping.offset));
                [name, place.as_bytes()].concat()
            }
        })
    }
}

/// An address of which nothing is known.
pub fn bare(address: u64) -> Vec<u8> {
    format!("{address:#x}").into_bytes()
}

impl From<MappedRange<'_>> for Mapping {
    fn from(range: MappedRange<'_>) -> Self {
        Self { addresses: range.addresses, offset: range.offset, name: range.path.into_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up procfs, and what is found in it.
    struct Kernel(tempfile::TempDir, Mappings);

    impl Kernel {
        fn new() -> Self {
            let procfs = tempfile::tempdir().unwrap();
            let mappings = Mappings::new(procfs.path().to_owned());
            Self(procfs, mappings)
        }

        fn runs(&self, process: Pid, maps: &str) {
            let directory = self.0.path().join(process.to_string());
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("maps"), maps).unwrap();
        }

        fn ends(&self, process: Pid) {
            fs::remove_dir_all(self.0.path().join(process.to_string())).unwrap();
        }

        #[track_caller]
        fn assert(&mut self, process: Pid, address: u64, place: Option<&str>) {
            let found = self.1.place(process, address);
            assert_eq!(found.map(|place| String::from_utf8(place).unwrap()).as_deref(), place);
        }
    }

    const CAT: &str = "1000-3000 r-xp 00005000 fe:00 1234      /usr/bin/my\\012cat
4000-5000 rw-p 00000000 fe:00 1234     /usr/bin/my\\012cat
6000-7000 rwxp 00000000 00:00 0 
";
    const NEW: &str = "4000-5000 r-xp 00000000 fe:00 9 /usr/lib/new.so\n";

    #[test]
    fn an_address_is_a_place_in_a_file() {
        let mut kernel = Kernel::new();
        kernel.runs(7, CAT);
        kernel.assert(7, 0x1120, Some("/usr/bin/my\ncat+0x5120"));
        kernel.assert(7, 0x6120, Some("0x6120"));
        kernel.assert(7, 0x4120, None);
        kernel.assert(8, 0x1120, None);
    }

    #[test]
    fn a_process_is_looked_at_once_a_look() {
        let mut kernel = Kernel::new();
        kernel.runs(7, CAT);
        kernel.assert(7, 0x1120, Some("/usr/bin/my\ncat+0x5120"));
        kernel.runs(7, NEW);
        kernel.1.next_look();
        kernel.assert(7, 0x4120, Some("/usr/lib/new.so+0x120"));
        kernel.runs(7, CAT);
        kernel.assert(7, 0x1120, None);
        kernel.1.next_look();
        kernel.assert(7, 0x1120, Some("/usr/bin/my\ncat+0x5120"));
    }

    #[test]
    fn what_is_known_of_a_process_outlives_it() {
        let mut kernel = Kernel::new();
        kernel.runs(7, CAT);
        kernel.assert(7, 0x1120, Some("/usr/bin/my\ncat+0x5120"));
        kernel.1.told();
        kernel.1.told();
        kernel.ends(7);
        kernel.1.next_look();
        kernel.assert(7, 0x4120, None);
        kernel.assert(7, 0x1121, Some("/usr/bin/my\ncat+0x5121"));
        kernel.1.told();
        kernel.assert(7, 0x1122, Some("/usr/bin/my\ncat+0x5122"));
        kernel.1.told();
        kernel.1.told();
        assert!(kernel.1.known.is_empty());
    }

    #[test]
    fn one_that_was_told_of_may_run_another_program() {
        let mut kernel = Kernel::new();
        kernel.runs(7, CAT);
        kernel.assert(7, 0x1120, Some("/usr/bin/my\ncat+0x5120"));
        kernel.1.told();
        kernel.runs(7, &CAT.replace("cat", "dog"));
        kernel.assert(7, 0x1120, Some("/usr/bin/my\ndog+0x5120"));
    }
}

//! The dynamic loader's list of libraries, `/etc/ld.so.cache`, which ldconfig(8) writes.
//!
//! The format is described in sysdeps/generic/dl-cache.h of glibc. Older files begin with a list of another format.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use memchr::memmem;

/// Where the list is.
const PATH: &str = "/etc/ld.so.cache";

/// How much of it is read, in bytes. A system with all its libraries has some hundred thousand.
const MAX_LENGTH: u64 = 16 << 20;

/// What the list begins with. Positions are counted from here.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";

/// Where the number of entries stands.
const COUNT: usize = MAGIC.len();

/// `struct cache_file_new` without its entries.
const HEADER: usize = 48;

/// `struct file_entry_new`: `int32_t flags; uint32_t key, value, osversion; uint64_t hwcap`.
const ENTRY: usize = 24;

/// Names of libraries with their paths.
#[derive(Debug, Default)]
pub struct LoaderCache {
    bytes: Vec<u8>,
}

impl LoaderCache {
    /// The list of this system. It is empty where there is none, as with musl.
    pub fn read() -> Self {
        let mut bytes = Vec::new();
        let file = File::open(PATH).ok().map(|file| file.take(MAX_LENGTH));
        // What could be read is enough.
        let _ = file.map(|mut file| file.read_to_end(&mut bytes));
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Self {
        let begin = memmem::find(bytes, MAGIC).unwrap_or(bytes.len());
        Self { bytes: bytes[begin..].to_vec() }
    }

    /// The libraries of this name. The processor decides which of them is loaded.
    pub fn paths(&self, name: &OsStr) -> impl Iterator<Item = PathBuf> {
        let is_named = move |entry: &&[u8]| self.text(entry, 4) == Some(name.as_bytes());
        let path = |entry| self.text(entry, 8).map(|path| Path::new(OsStr::from_bytes(path)).to_owned());
        self.entries().filter(is_named).filter_map(path)
    }

    fn entries(&self) -> impl Iterator<Item = &[u8]> {
        let count = number(&self.bytes, COUNT).unwrap_or_default();
        self.bytes.get(HEADER..).unwrap_or_default().chunks_exact(ENTRY).take(count)
    }

    /// The text of which an entry has the position here.
    fn text(&self, entry: &[u8], at: usize) -> Option<&[u8]> {
        let text = self.bytes.get(number(entry, at)?..)?;
        text.split(|byte| *byte == 0).next()
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_ne_bytes(bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::process::Command;

    use proptest::prelude::*;

    /// A list with these names and paths, as ldconfig writes it.
    fn list(libraries: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((libraries.len() as u32).to_ne_bytes());
        bytes.resize(HEADER, 0);
        let (mut texts, begin) = (Vec::new(), HEADER + ENTRY * libraries.len());
        for (name, path) in libraries {
            let place = (begin + texts.len()) as u32;
            let words = [3, place, place + name.len() as u32 + 1, 0, 0, 0];
            bytes.extend(words.iter().flat_map(|word: &u32| word.to_ne_bytes()));
            texts.extend([name.as_bytes(), b"\0", path.as_bytes(), b"\0"].concat());
        }
        [bytes, texts].concat()
    }

    #[test]
    fn all_libraries_of_a_name_are_found() {
        let bytes =
            list(&[("libz.so.1", "/a/libz.so.1"), ("libc.so.6", "/c"), ("libz.so.1", "/b/libz.so.1")]);
        let older = [b"ld.so-1.7.0\0an older list".to_vec(), bytes.clone()].concat();
        for bytes in [bytes, older] {
            let cache = LoaderCache::parse(&bytes);
            let found: Vec<_> = cache.paths(OsStr::new("libz.so.1")).collect();
            assert_eq!(found, [Path::new("/a/libz.so.1"), Path::new("/b/libz.so.1")]);
            assert_eq!(cache.paths(OsStr::new("libz")).count(), 0);
        }
    }

    #[test]
    fn the_list_of_this_system_is_read_as_ldconfig_reads_it() {
        let Ok(printed) = Command::new("/sbin/ldconfig").arg("-p").output() else { return };
        let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
        let cache = LoaderCache::read();
        let mut names = BTreeSet::new();
        for line in printed.lines() {
            let Some((library, path)) = line.trim().split_once(" => ") else { continue };
            let name = library.split(' ').next().unwrap_or_default();
            assert!(cache.paths(OsStr::new(name)).any(|found| found == Path::new(path)), "{line}");
            names.insert(name);
        }
        assert!(names.is_empty() || cache.entries().count() >= names.len());
    }

    proptest! {
        #[test]
        fn any_bytes_lead_to_a_result(before: Vec<u8>, count: u32, after: Vec<u8>, name: Vec<u8>) {
            let bytes = [&before, MAGIC, &count.to_ne_bytes(), &after].concat();
            prop_assert!(LoaderCache::parse(&bytes).paths(OsStr::from_bytes(&name)).count() <= after.len());
        }
    }
}

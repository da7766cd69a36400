//! What the dynamic section of a program or shared library says about the libraries that it needs (ld.so(8)).

#![warn(missing_docs)]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use object::elf::{
    DT_AUXILIARY, DT_FILTER, DT_NEEDED, DT_NULL, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_STRSZ, DT_STRTAB,
    DynamicTag, FileHeader64, PT_DYNAMIC, PT_LOAD,
};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, ReadCache, ReadRef};

/// The size of an entry of the dynamic section (`Elf64_Dyn`).
const ENTRY: u64 = 16;

/// How long the dynamic section of a real file may be, in bytes.
const MAX_SECTION: u64 = 1 << 20;

/// Stands for the directory of the file that a path is in.
const ORIGIN: [&str; 2] = ["${ORIGIN}", "$ORIGIN"];

/// The libraries that a program or library needs, and where it has them looked for.
#[derive(Debug, Default)]
pub struct Linkage {
    /// Names, or paths with a slash.
    pub needed: Vec<OsString>,
    /// Its own name, by which others need it.
    pub name: Option<OsString>,
    /// Directories to look in, separated by colons. Ignored if there is a `runpath`.
    pub rpath: Option<OsString>,
    /// The same, for its own needs only.
    pub runpath: Option<OsString>,
    entries: Vec<(DynamicTag, u64)>,
    /// The place of the entries in the file.
    place: Range<u64>,
}

impl Linkage {
    /// That of this file.
    ///
    /// # Errors
    ///
    /// It is no ELF file, or a damaged one.
    pub fn of(file: &File) -> object::Result<Self> {
        let cache = ReadCache::new(file);
        Self::read(&cache)
    }

    /// As the dynamic loader reads it: by the program headers, not the sections.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn read<'data>(data: impl ReadRef<'data>) -> object::Result<Self> {
        let header = FileHeader64::<Endianness>::parse(data)?;
        let endian = header.endian()?;
        let segments = header.program_headers(endian, data)?;
        let Some(segment) = segments.iter().find(|segment| segment.p_type(endian) == PT_DYNAMIC) else {
            return Ok(Self::default());
        };
        let entries = match segment.p_filesz(endian) {
            ..=MAX_SECTION => segment.dynamic(endian, data)?.unwrap_or_default(),
            _ => &[],
        };
        let entries = entries.iter().map(|entry| (entry.tag(endian), entry.val(endian)));
        let entries: Vec<_> = entries.take_while(|(tag, _)| *tag != DT_NULL).collect();
        let start = segment.p_offset(endian);
        let place = start..start + entries.len() as u64 * ENTRY;

        let value = |wanted| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
        let offset = |address: u64| {
            segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD).find_map(|segment| {
                let into = address.checked_sub(segment.p_vaddr(endian))?;
                (into < segment.p_filesz(endian)).then_some(segment.p_offset(endian).checked_add(into)?)
            })
        };
        let strings = value(DT_STRTAB).and_then(offset).unwrap_or_default();
        let end = strings.saturating_add(value(DT_STRSZ).unwrap_or_default());
        let text = |at: u64| {
            let text = strings.checked_add(at).and_then(|at| data.read_bytes_at_until(at..end, 0).ok());
            text.map(|text| OsString::from_vec(text.to_vec()))
        };
        let texts = |wanted: &[DynamicTag]| {
            let found = entries.iter().filter(|(tag, _)| wanted.contains(tag));
            found.filter_map(|(_, at)| text(*at)).collect::<Vec<_>>()
        };
        let last = |wanted| texts(&[wanted]).pop().filter(|text| !text.is_empty());
        Ok(Self {
            needed: texts(&[DT_NEEDED, DT_FILTER, DT_AUXILIARY]),
            name: last(DT_SONAME),
            rpath: last(DT_RPATH),
            runpath: last(DT_RUNPATH),
            place,
            entries,
        })
    }

    /// Whether it has libraries looked for in directories of its own choice.
    pub fn has_search_path(&self) -> bool {
        self.rpath.is_some() || self.runpath.is_some()
    }

    /// Removes the directories to look in from the file that this was read from.
    ///
    /// # Errors
    ///
    /// The file cannot be written to.
    pub fn remove_search_path(&self, file: &File) -> std::io::Result<()> {
        let is_kept = |(tag, _): &&(DynamicTag, u64)| ![DT_RPATH, DT_RUNPATH].contains(tag);
        let kept = self.entries.iter().filter(is_kept);
        let mut bytes: Vec<u8> =
            kept.flat_map(|(tag, value)| [tag.0.to_le_bytes(), value.to_le_bytes()]).flatten().collect();
        // The section ends earlier.
        bytes.resize((self.place.end - self.place.start) as usize, 0);
        file.write_all_at(&bytes, self.place.start)
    }
}

/// A directory of a search path of the library or program in the directory `origin`. `None` if it begins with another word than
/// `$ORIGIN` that stands for something, or contains one.
pub fn search_directory(element: &OsStr, origin: &Path) -> Option<PathBuf> {
    let below = ORIGIN.iter().find_map(|token| Path::new(element).strip_prefix(token).ok());
    let rest = below.unwrap_or(Path::new(element)).as_os_str();
    let is_plain = !rest.as_bytes().contains(&b'$');
    is_plain.then(|| below.map_or_else(|| PathBuf::from(element), |below| origin.join(below)))
}

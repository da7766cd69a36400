//! A record of the programs: `struct open_record` in `bpf/open.bpf.c`, and the strings after it.

use crate::directory::{Directory, Reach};
use crate::records::{half_word, number, take, until_nul, word};

/// The kind of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Open,
    Creat,
    Openat,
    Openat2,
    UringOpenat,
    UringOpenat2,
}

/// The kinds in the order of `enum kind` in `bpf/open.bpf.c`.
const KINDS: [Kind; 6] =
    [Kind::Open, Kind::Creat, Kind::Openat, Kind::Openat2, Kind::UringOpenat, Kind::UringOpenat2];

// The bits of `known` in `bpf/directory.h` and `bpf/open.bpf.c`.
const REACHED_ROOT: u16 = 1;
const DIRECTORY_CUT: u16 = 2;
const DIRECTORY_DELETED: u16 = 4;
const HAS_DIRECTORY: u16 = 8;
const NAME_UNREAD: u16 = 16;
const NAME_LATE: u16 = 32;
const NAME_CUT: u16 = 64;
const IS_COMPAT: u16 = 128;
const BEGIN_UNSEEN: u16 = 256;
const HOW_UNREAD: u16 = 512;

/// A call that has returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRecord<'a> {
    /// When it began, in nanoseconds since boot; when it returned, if its beginning was not seen.
    pub time: u64,
    /// `None` if its beginning was not seen.
    pub duration: Option<u64>,
    /// The lost records of this CPU before it.
    pub lost: u64,
    pub cpu: u32,
    pub pid: u32,
    pub tid: u32,
    pub comm: &'a [u8],
    pub kind: Kind,
    /// Whether it is a call of the 32-bit interface.
    pub is_compat: bool,
    pub dirfd: i32,
    /// `None` if their memory cannot be read, nor that of mode and resolve.
    pub flags: Option<u64>,
    pub mode: u64,
    pub resolve: u64,
    pub result: i64,
    /// As the program gave it. `None` if its memory cannot be read.
    pub name: Option<&'a [u8]>,
    /// Whether the name is longer than any path can be.
    pub is_name_cut: bool,
    /// The directory that a relative name starts from. `None` if there is none, or if it was not needed.
    pub directory: Option<Directory<'a>>,
}

impl Kind {
    /// The name of the system call.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Creat => "creat",
            Self::Openat | Self::UringOpenat => "openat",
            Self::Openat2 | Self::UringOpenat2 => "openat2",
        }
    }

    /// Whether it is a request to io_uring.
    pub fn is_uring(self) -> bool {
        matches!(self, Self::UringOpenat | Self::UringOpenat2)
    }
}

impl<'a> OpenRecord<'a> {
    /// Parses a record. `None` if the bytes are not a record.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let rest = &mut rest;
        let (time, duration, lost) = (number(rest)?, number(rest)?, number(rest)?);
        let (flags, mode, resolve) = (number(rest)?, number(rest)?, number(rest)?);
        let result = number(rest)?.cast_signed();
        let (cpu, pid, tid, dirfd) = (word(rest)?, word(rest)?, word(rest)?, word(rest)?);
        let (name_length, directory_length) = (word(rest)?, word(rest)?);
        let (kind, known) = (half_word(rest)?, half_word(rest)?);
        let comm = until_nul(take(rest, 16)?);
        take(rest, 4)?;
        let is = |flag: u16| known & flag != 0;
        let (name, names) = if is(NAME_LATE) {
            let names = take(rest, directory_length)?;
            (take(rest, name_length)?, names)
        } else {
            (take(rest, name_length)?, take(rest, directory_length)?)
        };
        let reach = match known {
            _ if is(REACHED_ROOT) => Reach::Root,
            _ if is(DIRECTORY_CUT) => Reach::Cut,
            _ => Reach::Elsewhere,
        };
        Some(Self {
            time,
            duration: (!is(BEGIN_UNSEEN)).then_some(duration),
            lost,
            cpu,
            pid,
            tid,
            comm,
            kind: *KINDS.get(usize::from(kind))?,
            is_compat: is(IS_COMPAT),
            dirfd: dirfd.cast_signed(),
            flags: (!is(HOW_UNREAD)).then_some(flags),
            mode,
            resolve,
            result,
            name: (!is(NAME_UNREAD)).then(|| until_nul(name)),
            is_name_cut: is(NAME_CUT),
            directory: is(HAS_DIRECTORY).then(|| Directory {
                names,
                reach,
                is_deleted: is(DIRECTORY_DELETED),
            }),
        })
    }
}

/// The CPU of the record in these bytes, and the number of records that were lost there before it.
pub fn lost_before(bytes: &[u8]) -> Option<(u32, u64)> {
    OpenRecord::of(bytes).map(|record| (record.cpu, record.lost))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = OpenRecord::of(&bytes);
        }
    }

    #[test]
    fn late_name_is_stored_after_the_directory() {
        let record = |known: u16, texts: &[u8]| {
            let mut bytes = vec![0; 72];
            bytes.extend([4u32, 6].map(u32::to_ne_bytes).concat());
            bytes.extend([2u16, known].map(u16::to_ne_bytes).concat());
            bytes.extend(*b"cat\0rubbish\0\0\0\0\0\0\0\0\0");
            bytes.extend(texts);
            bytes
        };
        for (known, texts) in
            [(HAS_DIRECTORY, b"abc\0b\0a\0\0\0"), (HAS_DIRECTORY | NAME_LATE, b"b\0a\0\0\0abc\0")]
        {
            let bytes = record(known, texts);
            let record = OpenRecord::of(&bytes).unwrap();
            assert_eq!(
                (record.kind, record.comm, record.name),
                (Kind::Openat, &b"cat"[..], Some(&b"abc"[..]))
            );
            assert_eq!(record.directory.unwrap().names, b"b\0a\0\0\0");
        }
    }
}

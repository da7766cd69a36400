//! A record of the programs: `struct open_record` in `bpf/open.bpf.c`, and the texts behind it.

/// How a call came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Open,
    Creat,
    Openat,
    Openat2,
    UringOpenat,
    UringOpenat2,
}

/// The calls in the order of the programs' `enum kind`.
const KINDS: [Kind; 6] =
    [Kind::Open, Kind::Creat, Kind::Openat, Kind::Openat2, Kind::UringOpenat, Kind::UringOpenat2];

// What is known of the name: `bpf/directory.h`, `bpf/open.bpf.c`.
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
    /// When it began, in nanoseconds since boot; when it returned, if nobody saw it begin.
    pub time: u64,
    /// None: nobody saw it begin.
    pub duration: Option<u64>,
    /// Records of this CPU that were lost before it.
    pub lost: u64,
    pub cpu: u32,
    pub pid: u32,
    pub tid: u32,
    pub comm: &'a [u8],
    pub kind: Kind,
    /// Whether it was made through the 32-bit interface.
    pub is_compat: bool,
    pub dirfd: i32,
    /// None: their memory cannot be read, nor that of mode and resolve.
    pub flags: Option<u64>,
    pub mode: u64,
    pub resolve: u64,
    pub result: i64,
    /// As it was given. None: its memory cannot be read.
    pub name: Option<&'a [u8]>,
    /// Longer than any name can be.
    pub is_name_cut: bool,
    /// What a relative name is relative to. None: nothing, or nothing was looked for.
    pub directory: Option<Directory<'a>>,
}

/// A directory as the calling process sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directory<'a> {
    /// From the innermost outwards, each with its NUL.
    pub names: &'a [u8],
    /// How far they go.
    pub reach: Reach,
    pub is_deleted: bool,
}

/// How far up the names of a directory go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Up to the root of the process.
    Root,
    /// Up to a place from which there is no way to it.
    Elsewhere,
    /// Up to where the room ended.
    Cut,
}

impl Kind {
    /// The name of the call.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Creat => "creat",
            Self::Openat | Self::UringOpenat => "openat",
            Self::Openat2 | Self::UringOpenat2 => "openat2",
        }
    }

    /// Whether it was asked for through io_uring.
    pub fn is_uring(self) -> bool {
        matches!(self, Self::UringOpenat | Self::UringOpenat2)
    }
}

impl<'a> OpenRecord<'a> {
    /// The record in these bytes. None: they are none.
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

/// How many records of its CPU were lost before the record in these bytes, and the CPU.
pub fn lost_before(bytes: &[u8]) -> Option<(u32, u64)> {
    OpenRecord::of(bytes).map(|record| (record.cpu, record.lost))
}

fn take<'a>(rest: &mut &'a [u8], length: u32) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length as usize)?;
    *rest = after;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest, 8)?.try_into().ok().map(u64::from_ne_bytes)
}

fn word(rest: &mut &[u8]) -> Option<u32> {
    take(rest, 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn half_word(rest: &mut &[u8]) -> Option<u16> {
    take(rest, 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = OpenRecord::of(&bytes);
        }
    }

    #[test]
    fn a_name_that_came_late_lies_behind_the_directory() {
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

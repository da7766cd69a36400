//! Records in a ring buffer (perf_event_open(2), "mmap layout"), of events with the attributes
//! [`sampling`](super::Attributes::sampling).

use perf_event_open_sys::bindings as sys;
use trace_stacks::Mapping;

/// Type, flags, size.
const HEADER: usize = 8;
/// At the end of each record that is not a sample: pid, tid, time, CPU, id (`PERF_SAMPLE_…`, with `sample_id_all`).
const TRAILER: usize = 32;

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Nanoseconds of [`now`](super::now).
    pub time: u64,
    pub cpu: u32,
    pub process: u32,
    pub thread: u32,
    /// The id of the event, as [`Event::id`](super::Event::id) returns it.
    pub id: u64,
    pub body: Body<'a>,
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// A stack: addresses of eight bytes, the innermost first, with markers where the kernel's and the program's begin
    /// (`PERF_CONTEXT_…`).
    Sample(&'a [[u8; 8]]),
    /// Code was mapped.
    Mmap(Mapping<'a>),
    /// The task has a new name. `is_exec`: because it executes another program.
    Comm { name: &'a [u8], is_exec: bool },
    /// The task was started by this one.
    Fork { parent_pid: u32, parent_tid: u32 },
    /// The task has ended.
    Exit,
    /// There was no room for this many records before this one.
    Lost(u64),
    /// The event takes no more samples until the next timer tick: it has reached the maximum sample rate.
    Throttle,
    /// Any other record.
    Other,
}

/// The records in some bytes, one after the other.
pub struct Records<'a>(pub &'a [u8]);

impl<'a> Iterator for Records<'a> {
    /// The bytes of a record, and the record.
    type Item = (&'a [u8], Record<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let size = usize::from(u16::from_ne_bytes(*self.0.get(6..)?.first_chunk()?));
        let (record, rest) = self.0.split_at_checked(size).filter(|_| size >= HEADER)?;
        self.0 = rest;
        Some((record, Record::of(record)))
    }
}

impl<'a> Record<'a> {
    /// Parses a record. One that cannot be parsed is [`Body::Other`], with zeros.
    fn of(record: &'a [u8]) -> Self {
        Self::read(record).unwrap_or(Record {
            time: 0,
            cpu: 0,
            process: 0,
            thread: 0,
            id: 0,
            body: Body::Other,
        })
    }

    fn read(record: &'a [u8]) -> Option<Self> {
        let mut header = Bytes(record);
        let (kind, flags) = (header.u32()?, header.u16()?);
        let rest = record.get(HEADER..)?;
        if kind == sys::PERF_RECORD_SAMPLE {
            return sample(Bytes(rest));
        }
        let (rest, trailer) = rest.split_at_checked(rest.len().checked_sub(TRAILER)?)?;
        let mut body = Bytes(rest);
        let mut trailer = Bytes(trailer);
        let (process, thread, time) = (trailer.u32()?, trailer.u32()?, trailer.u64()?);
        let (cpu, _, id) = (trailer.u32()?, trailer.u32()?, trailer.u64()?);
        let of = |process, thread, body| Some(Self { time, cpu, process, thread, id, body });
        match kind {
            sys::PERF_RECORD_MMAP2 => {
                let (process, thread) = (body.u32()?, body.u32()?);
                of(process, thread, Body::Mmap(mapping(body)?))
            }
            sys::PERF_RECORD_COMM => {
                let (process, thread) = (body.u32()?, body.u32()?);
                let is_exec = u32::from(flags) & sys::PERF_RECORD_MISC_COMM_EXEC != 0;
                of(process, thread, Body::Comm { name: until_nul(body.0), is_exec })
            }
            sys::PERF_RECORD_FORK | sys::PERF_RECORD_EXIT => {
                let (process, parent_pid) = (body.u32()?, body.u32()?);
                let (thread, parent_tid) = (body.u32()?, body.u32()?);
                let is_start = kind == sys::PERF_RECORD_FORK;
                let what = if is_start { Body::Fork { parent_pid, parent_tid } } else { Body::Exit };
                of(process, thread, what)
            }
            sys::PERF_RECORD_LOST => {
                body.u64()?;
                of(process, thread, Body::Lost(body.u64()?))
            }
            sys::PERF_RECORD_THROTTLE => of(process, thread, Body::Throttle),
            _ => of(process, thread, Body::Other),
        }
    }

    /// The bytes that [`Records`] parses as this record, for a mapping or a name: so data from procfs is processed in the same way as
    /// the kernel's own records.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&self.process.to_ne_bytes());
        body.extend_from_slice(&self.thread.to_ne_bytes());
        let (kind, flags, text) = match self.body {
            Body::Mmap(mapping) => {
                for number in [mapping.address, mapping.length, mapping.offset] {
                    body.extend_from_slice(&number.to_ne_bytes());
                }
                body.extend_from_slice(&mapping.device.0.to_ne_bytes());
                body.extend_from_slice(&mapping.device.1.to_ne_bytes());
                body.extend_from_slice(&mapping.inode.to_ne_bytes());
                body.extend_from_slice(&mapping.generation.to_ne_bytes());
                // Protection and flags.
                body.extend_from_slice(&[0; 8]);
                (sys::PERF_RECORD_MMAP2, 0, mapping.path)
            }
            Body::Comm { name, is_exec } => {
                (sys::PERF_RECORD_COMM, if is_exec { sys::PERF_RECORD_MISC_COMM_EXEC } else { 0 }, name)
            }
            _ => (sys::PERF_RECORD_MAX, 0, &[][..]),
        };
        body.extend_from_slice(&text[..text.len().min(usize::from(u16::MAX) / 2)]);
        // At least one zero, and up to a multiple of eight.
        body.resize(body.len() / 8 * 8 + 8, 0);
        for number in [self.process, self.thread] {
            body.extend_from_slice(&number.to_ne_bytes());
        }
        body.extend_from_slice(&self.time.to_ne_bytes());
        body.extend_from_slice(&self.cpu.to_ne_bytes());
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&self.id.to_ne_bytes());
        let size = (HEADER + body.len()) as u16;
        [&kind.to_ne_bytes()[..], &(flags as u16).to_ne_bytes(), &size.to_ne_bytes(), &body].concat()
    }
}

fn sample(mut body: Bytes<'_>) -> Option<Record<'_>> {
    let id = body.u64()?;
    let (process, thread, time) = (body.u32()?, body.u32()?, body.u64()?);
    let (cpu, _) = (body.u32()?, body.u32()?);
    let count = usize::try_from(body.u64()?).ok()?;
    let stack = body.0.as_chunks().0.get(..count)?;
    Some(Record { time, cpu, process, thread, id, body: Body::Sample(stack) })
}

fn mapping(mut body: Bytes<'_>) -> Option<Mapping<'_>> {
    let (address, length, offset) = (body.u64()?, body.u64()?, body.u64()?);
    let device = (body.u32()?, body.u32()?);
    let (inode, generation) = (body.u64()?, body.u64()?);
    let (_protection, _flags) = (body.u32()?, body.u32()?);
    Some(Mapping { address, length, offset, device, inode, generation, path: until_nul(body.0) })
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Numbers, one after the other.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn u16(&mut self) -> Option<u16> {
        self.chunk().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_ne_bytes)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_that_are_written_are_parsed() {
        let mapping = Mapping {
            address: 0x1000,
            length: 0x2000,
            offset: 0x3000,
            device: (8, 1),
            inode: 77,
            generation: 78,
            path: b"/usr/lib/libc.so.6",
        };
        let named = |name| Body::Comm { name, is_exec: true };
        for body in [Body::Mmap(mapping), named(b"cat"), named(b"eight888")] {
            let record = Record { time: 5, cpu: 1, process: 10, thread: 11, id: 9, body };
            let bytes = record.to_bytes();
            let read: Vec<_> = Records(&bytes).collect();
            assert_eq!(read, [(&bytes[..], record)]);
        }
    }

    proptest! {
        #[test]
        fn any_record_is_parsed_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), kind in 0u8..20) {
            let mut bytes = bytes;
            if bytes.len() >= HEADER {
                let size = bytes.len() as u16;
                bytes[..4].copy_from_slice(&u32::from(kind).to_ne_bytes());
                bytes[6..8].copy_from_slice(&size.to_ne_bytes());
            }
            prop_assert!(Records(&bytes).count() <= 1);
        }

        #[test]
        fn any_sequence_of_records_ends(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
            prop_assert!(Records(&bytes).count() <= bytes.len() / HEADER);
        }
    }
}

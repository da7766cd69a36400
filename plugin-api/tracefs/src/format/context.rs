use trace_tasks::Pid;

use super::EventFormat;
use super::field::read_number;
use super::names::Names;
use super::options::Options;
use super::write;

/// The offsets of the fields that all records start with (`struct trace_entry` in `include/linux/trace_events.h`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Common {
    kind: (usize, usize),
    flags: usize,
    preempt_count: usize,
    pid: usize,
}

/// The common fields of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: u16,
    pub(super) flags: u8,
    pub(super) preempt_count: u8,
    pub(super) pid: Pid,
}

/// The layout of all kernels since 2.6.38, in case the kernel does not describe it.
impl Default for Common {
    fn default() -> Self {
        Self { kind: (0, 2), flags: 2, preempt_count: 3, pid: 4 }
    }
}

impl Common {
    pub(super) fn of(format: &EventFormat) -> Option<Self> {
        let kind = format.field("common_type")?;
        Some(Self {
            kind: (kind.offset, kind.size),
            flags: format.field("common_flags")?.offset,
            preempt_count: format.field("common_preempt_count")?.offset,
            pid: format.field("common_pid")?.offset,
        })
    }

    #[inline]
    pub(super) fn entry(&self, record: &[u8]) -> Option<Entry> {
        let (offset, size) = self.kind;
        Some(Entry {
            id: read_number(record, offset, size, false)? as u16,
            flags: *record.get(self.flags)?,
            preempt_count: *record.get(self.preempt_count)?,
            pid: read_number(record, self.pid, 4, false)? as Pid,
        })
    }
}

impl Entry {
    /// `TRACE_FLAG_HARDIRQ`, `TRACE_FLAG_SOFTIRQ` and `TRACE_FLAG_NMI` (`include/linux/trace_events.h`).
    pub(super) fn interrupts(&self) -> u8 {
        self.flags & (0x08 | 0x10 | 0x40)
    }

    /// Appends what precedes the event: task, CPU, flags and time (`trace_print_context`).
    #[inline]
    pub(super) fn write_context(
        &self,
        cpu: u32,
        time: Time<'_>,
        options: &Options,
        names: &mut Names,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&names.name(self.pid).column);
        out.push(b'-');
        let start = out.len();
        // A signed number in C (`struct trace_entry`).
        write::signed(out, i64::from(self.pid.cast_signed()));
        write::pad(out, b' ', (start + 7).saturating_sub(out.len()));
        out.push(b' ');
        if options.tgid {
            self.write_group(names, out);
        }
        out.push(b'[');
        write::decimal_padded(out, u64::from(cpu), 3, b'0');
        out.extend_from_slice(b"] ");
        if options.irq_info {
            self.write_flags(options.migrate_depth, out);
        }
        match time {
            Time::Stamp(stamp) => write_time(stamp, options.nanoseconds, out),
            Time::Text(text) => {
                out.push(b' ');
                out.extend_from_slice(text);
                out.extend_from_slice(b": ");
            }
        }
    }

    fn write_group(&self, names: &mut Names, out: &mut Vec<u8>) {
        match names.group(self.pid) {
            0 => out.extend_from_slice(b"(-------) "),
            group => {
                out.push(b'(');
                write::decimal_padded(out, u64::from(group), 7, b' ');
                out.extend_from_slice(b") ");
            }
        }
    }

    /// `trace_print_lat_fmt` of Linux 6.13 and later. Earlier kernels print the same letters for the flags that they have;
    /// those without `migrate_depth` use the whole count for the depth of disabled preemption.
    #[inline]
    fn write_flags(&self, migrate_depth: bool, out: &mut Vec<u8>) {
        let has = |flag: u8| self.flags & flag != 0;
        let (irqs_off, bottom_halves_off) = (has(0x01), has(0x80));
        let interrupts = match (irqs_off, bottom_halves_off) {
            (true, true) => b'D',
            (true, false) => b'd',
            (false, true) => b'b',
            (false, false) => b'.',
        };
        let (lazy, now, preempt) = (has(0x02), has(0x04), has(0x20));
        let reschedule = match (lazy, now, preempt) {
            (true, true, true) => b'B',
            (false, true, true) => b'N',
            (true, false, true) => b'L',
            (true, true, false) => b'b',
            (false, true, false) => b'n',
            (true, false, false) => b'l',
            (false, false, true) => b'p',
            (false, false, false) => b'.',
        };
        let (hard, soft, nmi) = (has(0x08), has(0x10), has(0x40));
        let context = match (nmi, hard, soft) {
            (true, true, _) => b'Z',
            (true, false, _) => b'z',
            (false, true, true) => b'H',
            (false, true, false) => b'h',
            (false, false, true) => b's',
            (false, false, false) => b'.',
        };
        out.extend_from_slice(&[interrupts, reschedule, context]);
        if migrate_depth {
            write_depth(self.preempt_count & 0xf, out);
            write_depth(self.preempt_count >> 4, out);
        } else {
            write_depth(self.preempt_count, out);
        }
    }
}

/// The time of a record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Time<'a> {
    /// By the clock of the instance, printed as the kernel does.
    Stamp(u64),
    /// As the caller wants to see it.
    Text(&'a [u8]),
}

#[inline]
fn write_depth(depth: u8, out: &mut Vec<u8>) {
    if depth == 0 { out.push(b'.') } else { write::hex(out, depth.into()) }
}

#[inline]
fn write_time(stamp: u64, nanoseconds: bool, out: &mut Vec<u8>) {
    out.push(b' ');
    if nanoseconds {
        // `ns2usecs` rounds.
        let microseconds = stamp.saturating_add(500) / 1000;
        write::decimal_padded(out, microseconds / 1_000_000, 5, b' ');
        out.push(b'.');
        write::decimal_padded(out, microseconds % 1_000_000, 6, b'0');
    } else {
        write::decimal_padded(out, stamp, 12, b' ');
    }
    out.extend_from_slice(b": ");
}

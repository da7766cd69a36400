use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::Error;

/// The layout of a page of the ring buffer, as this kernel describes it.
///
/// Source: `events/header_page` and `events/header_event`, printed by `ring_buffer_print_page_header` and
/// `ring_buffer_print_entry_header` in `kernel/trace/ring_buffer.c`; `buffer_subbuf_size_kb` since Linux 6.8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The size of a sub-buffer in bytes: the most that one `read` of `trace_pipe_raw` returns.
    page_size: usize,
    pub(super) stamp: Span,
    pub(super) commit: Span,
    /// Where the records begin.
    pub(super) data: usize,
    pub(super) event: EventHeader,
}

/// The position of a number in the page header, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) offset: usize,
    pub(super) size: usize,
}

/// The layout of the 32-bit word before each record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventHeader {
    pub(super) type_bits: u32,
    pub(super) delta_bits: u32,
    pub(super) padding: u32,
    pub(super) time_extend: u32,
    pub(super) time_stamp: u32,
    pub(super) max_data: u32,
}

/// No sub-buffer is larger: the kernel's limit is 128 pages of at most 64 KiB.
const LARGEST_PAGE: usize = 128 * 64 * 1024;

impl Layout {
    /// Reads the layout of the instance in `instance` (or of the top-level directory).
    ///
    /// # Errors
    /// A header file cannot be read or understood.
    pub fn read(instance: &Path) -> Result<Self, Error> {
        let page_path = instance.join("events/header_page");
        let event_path = instance.join("events/header_event");
        let page = read(&page_path)?;
        let event = read(&event_path)?;
        let event = EventHeader::parse(&event).map_err(|what| Error::Layout { path: event_path, what })?;
        let layout =
            Self::parse_page(&page, event).map_err(|what| Error::Layout { path: page_path, what })?;
        Ok(match sub_buffer_size(instance) {
            Some(size) if size > layout.data => Self { page_size: size, ..layout },
            _ => layout,
        })
    }

    /// Parses the texts of `header_page` and `header_event`; `None` if they cannot be understood.
    pub fn parse(header_page: &str, header_event: &str) -> Option<Self> {
        Self::parse_page(header_page, EventHeader::parse(header_event).ok()?).ok()
    }

    /// The size of a sub-buffer in bytes: the most that one `read` of `trace_pipe_raw` returns.
    pub fn page_size(&self) -> usize {
        self.page_size
    }

    fn parse_page(text: &str, event: EventHeader) -> Result<Self, &'static str> {
        let stamp = header_field(text, "timestamp").ok_or("no field `timestamp`")?;
        let commit = header_field(text, "commit").ok_or("no field `commit`")?;
        let data = header_field(text, "data").ok_or("no field `data`")?;
        if stamp.size != 8 || !matches!(commit.size, 4 | 8) {
            return Err("a field of unknown size");
        }
        let page_size = data.offset.saturating_add(data.size);
        let header = data.offset.min(page_size);
        if stamp.end() > header || commit.end() > header || page_size > LARGEST_PAGE {
            return Err("fields that do not fit");
        }
        Ok(Self { page_size, stamp, commit, data: data.offset, event })
    }
}

impl Span {
    fn end(self) -> usize {
        self.offset.saturating_add(self.size)
    }
}

impl EventHeader {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let header = Self {
            type_bits: number_after(text, "type_len", ':').ok_or("no `type_len`")?,
            delta_bits: number_after(text, "time_delta", ':').ok_or("no `time_delta`")?,
            padding: number_after(text, "padding", '=').ok_or("no `padding`")?,
            time_extend: number_after(text, "time_extend", '=').ok_or("no `time_extend`")?,
            // Kernels before 4.17 have no absolute time stamps, so the value never occurs.
            time_stamp: number_after(text, "time_stamp", '=').unwrap_or(31),
            max_data: number_after(text, "data max type_len", '=').ok_or("no `data max type_len`")?,
        };
        let whole = 32u32.checked_sub(header.type_bits) == Some(header.delta_bits);
        if !whole || !(1..=16).contains(&header.type_bits) {
            return Err("bits that do not add up to a word");
        }
        Ok(header)
    }

    /// The type or length, and the time delta, of the record word `word`.
    #[inline]
    pub(super) fn split(&self, word: u32) -> (u32, u64) {
        if cfg!(target_endian = "big") {
            (word >> self.delta_bits, u64::from(word & ((1 << self.delta_bits) - 1)))
        } else {
            (word & ((1 << self.type_bits) - 1), u64::from(word >> self.type_bits))
        }
    }
}

/// Reads a header file. The kernel returns what fits into the first `read`, and end of file for the next
/// (`show_header` in `kernel/trace/trace_events.c`), so the buffer must hold all of it.
fn read(path: &Path) -> Result<String, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut text = vec![0; 64 * 1024];
    let length = File::open(path).map_err(io)?.read(&mut text).map_err(io)?;
    text.truncate(length);
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn sub_buffer_size(instance: &Path) -> Option<usize> {
    let text = fs::read_to_string(instance.join("buffer_subbuf_size_kb")).ok()?;
    let size = text.trim().parse::<usize>().ok()?.checked_mul(1024)?;
    (size <= LARGEST_PAGE).then_some(size)
}

/// Finds `field: TYPE NAME;  offset:N;  size:N;` in the text of `header_page`.
fn header_field(text: &str, name: &str) -> Option<Span> {
    text.lines().find_map(|line| {
        let mut parts = line.trim().strip_prefix("field:")?.split(';');
        let declared = parts.next()?.split_ascii_whitespace().next_back()?;
        if declared != name {
            return None;
        }
        let offset = parts.next()?.trim().strip_prefix("offset:")?.parse().ok()?;
        let size = parts.next()?.trim().strip_prefix("size:")?.parse().ok()?;
        Some(Span { offset, size })
    })
}

/// Finds `KEY : type == NUMBER`, `KEY : NUMBER bits` or `KEY == NUMBER`: the first number after the last
/// `mark` of the line.
fn number_after(text: &str, key: &str, mark: char) -> Option<u32> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix(key)?;
        let (_, value) = rest.rsplit_once(mark).or_else(|| rest.trim().rsplit_once(' '))?;
        let digits = value.trim_start();
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    })
}

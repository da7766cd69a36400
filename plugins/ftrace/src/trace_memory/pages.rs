//! Pages that are allocated and freed.

use trace_hook_api::{LineBuffer, Result};
use tracefs::format::Field;
use tracefs_session::{EventStream, Record, with_origin};

use super::allocation_flags::AllocationFlags;
use super::events::{Allocation, AllocationKind, Events, Site};
use crate::tracepoint::Tracepoint;

pub const ALLOC: Tracepoint = Tracepoint::new("kmem", "mm_page_alloc");
const FREE: Tracepoint = Tracepoint::new("kmem", "mm_page_free");

pub const TRACEPOINTS: [Tracepoint; 2] = [ALLOC, FREE];

/// The page frame number of a failed allocation.
const NO_PAGE: i64 = -1;

pub struct Pages {
    alloc: Alloc,
    free: Free,
    flags: AllocationFlags,
}

struct Alloc {
    id: u16,
    pfn: Field,
    order: Field,
    flags: Field,
}

struct Free {
    id: u16,
    pfn: Field,
    order: Field,
}

impl Pages {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        let (alloc, free) = (ALLOC.layout(stream)?, FREE.layout(stream)?);
        Ok(Self {
            alloc: Alloc {
                id: alloc.id(),
                pfn: alloc.field("pfn")?,
                order: alloc.field("order")?,
                flags: alloc.field("gfp_flags")?,
            },
            free: Free { id: free.id(), pfn: free.field("pfn")?, order: free.field("order")? },
            flags: AllocationFlags::default(),
        })
    }

    fn show_alloc(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        let flags = self.flags.of(record, &self.alloc.flags);
        with_origin(record, record.task(), |record, origin| {
            lines.add_event(origin, "page_alloc", |line| {
                let line = line.number("size", size(record, &self.alloc.order));
                match record.number(&self.alloc.pfn) {
                    NO_PAGE => line.flag("failed", true),
                    pfn => line.address("pfn", pfn as u64),
                }
                .number("order", record.number(&self.alloc.order))
                .word("flags", flags)
            });
        });
    }

    fn show_free(&self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        with_origin(record, record.task(), |record, origin| {
            lines.add_event(origin, "page_free", |line| {
                line.number("size", size(record, &self.free.order))
                    .address("pfn", record.number(&self.free.pfn) as u64)
                    .number("order", record.number(&self.free.order))
            });
        });
    }
}

impl Events for Pages {
    fn show(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> Option<()> {
        match record.id() {
            id if id == self.alloc.id => self.show_alloc(record, lines),
            id if id == self.free.id => self.show_free(record, lines),
            _ => return None,
        }
        Some(())
    }

    fn read_allocation(&mut self, record: &mut Record<'_>) -> Option<Allocation> {
        let is_given = record.id() == self.alloc.id && record.number(&self.alloc.pfn) != NO_PAGE;
        is_given.then(|| Allocation {
            kind: AllocationKind::Pages,
            bytes: size(record, &self.alloc.order),
            // It is in the record of the stack, which comes next.
            site: Site::Unknown,
        })
    }
}

/// The bytes of a block of `2^order` pages.
fn size(record: &Record<'_>, order: &Field) -> u64 {
    page_size().checked_shl(record.number(order) as u32).unwrap_or(0)
}

/// The bytes of a page.
pub fn page_size() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    size.ok().flatten().and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
}

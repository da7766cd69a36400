//! Memory that the kernel allocates for itself.

use trace_hook_api::{LineBuffer, Result};
use tracefs::format::Field;
use tracefs_session::{EventStream, Record, with_origin};

use super::allocation_flags::AllocationFlags;
use super::events::{Allocation, AllocationKind, Events, Site};
use crate::tracepoint::Tracepoint;

const ANY_NODE: Tracepoint = Tracepoint::new("kmem", "kmalloc");
/// A separate event until Linux 6.0.
const SOME_NODE: Tracepoint = Tracepoint::new("kmem", "kmalloc_node");

pub const TRACEPOINTS: [Tracepoint; 2] = [ANY_NODE, SOME_NODE];

pub struct Kmalloc {
    fields: Vec<Fields>,
    flags: AllocationFlags,
}

struct Fields {
    id: u16,
    call_site: Field,
    address: Field,
    requested: Field,
    allocated: Field,
    flags: Field,
}

impl Kmalloc {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        let mut fields = vec![Fields::new(ANY_NODE, stream)?];
        fields.extend(Fields::new(SOME_NODE, stream));
        Ok(Self { fields, flags: AllocationFlags::default() })
    }
}

impl Events for Kmalloc {
    fn show(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> Option<()> {
        let Self { fields, flags } = self;
        let fields = fields.iter().find(|fields| fields.id == record.id())?;
        let flags = flags.of(record, &fields.flags);
        with_origin(record, record.task(), |record, origin| {
            let number = |field| record.number(field) as u64;
            lines.add_event(origin, "kmalloc", |line| {
                line.number("size", number(&fields.allocated))
                    .number("requested", number(&fields.requested))
                    .address("address", number(&fields.address))
                    .word("caller", &record.symbol(number(&fields.call_site)))
                    .word("flags", flags)
            });
        });
        Some(())
    }

    fn read_allocation(&mut self, record: &mut Record<'_>) -> Option<Allocation> {
        let fields = self.fields.iter().find(|fields| fields.id == record.id())?;
        let number = |field| record.number(field) as u64;
        let site = Site::Kernel(number(&fields.call_site));
        Some(Allocation { kind: AllocationKind::Kmalloc, bytes: number(&fields.allocated), site })
    }
}

impl Fields {
    fn new(tracepoint: Tracepoint, stream: &mut EventStream) -> Result<Self> {
        let layout = tracepoint.layout(stream)?;
        Ok(Self {
            id: layout.id(),
            call_site: layout.field("call_site")?,
            address: layout.field("ptr")?,
            requested: layout.field("bytes_req")?,
            allocated: layout.field("bytes_alloc")?,
            flags: layout.field("gfp_flags")?,
        })
    }
}

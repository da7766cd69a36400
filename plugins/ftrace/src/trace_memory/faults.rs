//! Page faults.

use trace_hook_api::{EventLine, LineBuffer, Result};
use tracefs::format::Field;
use tracefs_session::{EventStream, Record, with_origin};

use super::events::{Allocation, AllocationKind, Events, Site};
use super::pages::page_size;
use crate::tracepoint::Tracepoint;

const USER: Tracepoint = Tracepoint::new("exceptions", "page_fault_user");
/// The kernel accesses the memory of a program, to copy from or to it.
const KERNEL: Tracepoint = Tracepoint::new("exceptions", "page_fault_kernel");

pub const TRACEPOINTS: [Tracepoint; 2] = [USER, KERNEL];

pub struct Faults {
    user: Fields,
    kernel: Fields,
}

struct Fields {
    id: u16,
    address: Field,
    ip: Field,
    error_code: Field,
}

impl Faults {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        Ok(Self { user: Fields::new(USER, stream)?, kernel: Fields::new(KERNEL, stream)? })
    }

    fn fields(&self, record: &Record<'_>) -> Option<&Fields> {
        [&self.user, &self.kernel].into_iter().find(|fields| fields.id == record.id())
    }
}

impl Events for Faults {
    fn show(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> Option<()> {
        let fields = self.fields(record)?;
        let in_kernel = fields.id == self.kernel.id;
        with_origin(record, record.task(), |record, origin| {
            let number = |field| record.number(field) as u64;
            let ip = number(&fields.ip);
            lines.add_event(origin, "page_fault", |line| {
                let line = line.address("address", number(&fields.address));
                let line = show_cause(line, number(&fields.error_code));
                match in_kernel {
                    true => line.word("caller", &record.symbol(ip)).flag("in_kernel", true),
                    false => line.address("caller", ip),
                }
            });
        });
        Some(())
    }

    fn read_allocation(&mut self, record: &mut Record<'_>) -> Option<Allocation> {
        let fields = self.fields(record)?;
        let ip = record.number(&fields.ip) as u64;
        let site = match fields.id == self.kernel.id {
            true => Site::Kernel(ip),
            false => Site::Program { thread: record.task(), address: ip },
        };
        Some(Allocation { kind: AllocationKind::Faults, bytes: page_size(), site })
    }
}

impl Fields {
    fn new(tracepoint: Tracepoint, stream: &mut EventStream) -> Result<Self> {
        let layout = tracepoint.layout(stream)?;
        Ok(Self {
            id: layout.id(),
            address: layout.field("address")?,
            ip: layout.field("ip")?,
            error_code: layout.field("error_code")?,
        })
    }
}

/// Adds the kind of access. Its encoding depends on the machine.
fn show_cause(line: EventLine<'_>, error_code: u64) -> EventLine<'_> {
    /// `enum x86_pf_error_code` in `arch/x86/include/asm/trap_pf.h`.
    const PRESENT: u64 = 1;
    const WRITE: u64 = 1 << 1;
    const FETCH: u64 = 1 << 4;
    if !cfg!(target_arch = "x86_64") {
        return line;
    }
    let access = match error_code {
        code if code & FETCH != 0 => "exec",
        code if code & WRITE != 0 => "write",
        _ => "read",
    };
    line.word("access", access).flag("present", error_code & PRESENT != 0)
}

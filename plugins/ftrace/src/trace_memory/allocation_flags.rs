//! What an allocation is for, and how much it may do to get memory.

use std::collections::HashMap;

use tracefs::format::Field;
use tracefs_session::Record;

/// Flags of allocations (`GFP_KERNEL` …), by name. Each kernel has its own numbers for them, which only the print format of
/// its events tells.
#[derive(Debug, Default)]
pub struct AllocationFlags {
    known: HashMap<i64, String>,
}

impl AllocationFlags {
    /// Those that a record has in the field `gfp_flags`.
    pub fn of(&mut self, record: &mut Record<'_>, field: &Field) -> &str {
        self.known.entry(record.number(field)).or_insert_with(|| {
            let mut line = Vec::new();
            record.write_text(&mut line);
            let line = String::from_utf8_lossy(&line);
            let flags = line.rsplit_once("gfp_flags=").map(|(_, rest)| rest);
            flags.and_then(|rest| rest.split_ascii_whitespace().next()).unwrap_or("unknown").to_owned()
        })
    }
}

//! The GFP flags of an allocation.

use std::collections::HashMap;

use tracefs::format::Field;
use tracefs_session::Record;

/// The names of GFP flags (`GFP_KERNEL` …). Each kernel has its own numbers for them; the print format of its events has the names.
///
/// Bounded: kernel code uses some dozens of combinations.
#[derive(Debug, Default)]
pub struct AllocationFlags {
    known: HashMap<i64, String>,
}

impl AllocationFlags {
    /// The flags in the field `gfp_flags` of a record.
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

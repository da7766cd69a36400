//! Where functions begin that have unwind information: the index `.eh_frame_hdr` (Linux Standard Base, "Exception Frame Header").

use std::ops::Range;
use std::sync::Arc;

use object::{Endian, Endianness};

use super::content::Content;
use super::error::ElfError;
use super::limits::MAX_TABLE;
use super::table::length;
use crate::memory_budget::MemoryBudget;

/// The version, and how the fields and the table are encoded: what all linkers write. `DW_EH_PE_udata4` for the number of entries,
/// `DW_EH_PE_datarel | DW_EH_PE_sdata4` for the table.
const VERSION: u8 = 1;
const COUNT_ENCODING: u8 = 0x03;
const TABLE_ENCODING: u8 = 0x3b;

/// Where the number of entries stands, and where they begin. Each is the begin of a function and the place of its information.
const COUNT: usize = 8;
const ENTRIES: usize = 12;
const ENTRY: usize = 8;

/// Where the index is in the file, and its address.
#[derive(Debug, Clone)]
pub struct UnwindIndex {
    pub part: Range<u64>,
    pub address: u64,
    pub endian: Endianness,
}

impl UnwindIndex {
    /// The addresses of the functions, in ascending order. None, if the index is written in another form.
    ///
    /// # Errors
    ///
    /// It cannot be read, or exceeds the budget.
    pub fn function_starts(
        &self,
        content: Content<'_>,
        budget: &Arc<MemoryBudget>,
    ) -> Result<Vec<u64>, ElfError> {
        // The bytes, and as many for the addresses.
        let _reservation = budget.reserve(length(&self.part).saturating_mul(2)).ok_or(ElfError::TooLarge)?;
        let bytes = content.read(&self.part, MAX_TABLE)?;
        let is_usual =
            bytes.first() == Some(&VERSION) && bytes.get(2..4) == Some(&[COUNT_ENCODING, TABLE_ENCODING]);
        if !is_usual {
            return Ok(Vec::new());
        }
        let number = |bytes: &[u8]| Some(self.endian.read_u32(bytes.try_into().ok()?));
        let count = bytes.get(COUNT..ENTRIES).and_then(number).unwrap_or(0);
        let entries = bytes.get(ENTRIES..).unwrap_or_default().chunks_exact(ENTRY).take(count as usize);
        let start =
            |entry: &[u8]| Some(self.address.wrapping_add_signed(number(&entry[..4])?.cast_signed().into()));
        let mut starts: Vec<u64> = entries.filter_map(start).collect();
        starts.sort_unstable();
        Ok(starts)
    }
}

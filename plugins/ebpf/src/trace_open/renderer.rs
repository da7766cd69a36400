//! The lines of the wanted records.

use trace_ebpf::RecordRenderer;
use trace_hook_api::LineBuffer;

use super::path_patterns::PathPatterns;
use super::record::{OpenRecord, lost_before};
use super::{path, show};

/// Renders the calls whose paths match.
pub struct OpenRenderer {
    wanted: PathPatterns,
}

impl OpenRenderer {
    pub fn new(wanted: PathPatterns) -> Self {
        Self { wanted }
    }
}

impl RecordRenderer for OpenRenderer {
    fn lost_before(bytes: &[u8]) -> Option<(u32, u64)> {
        lost_before(bytes)
    }

    fn record(&mut self, bytes: &[u8], lines: &mut LineBuffer) -> bool {
        let Some(record) = OpenRecord::of(bytes) else { return false };
        let path = path::of(&record);
        if self.wanted.include(path.as_deref()) {
            show::show(&record, path.as_deref(), lines);
        }
        true
    }
}

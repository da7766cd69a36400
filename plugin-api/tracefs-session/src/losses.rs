//! The number of lost records in each gap of the ring buffer.

use std::collections::BTreeMap;

use trace_hook_api::log;
use tracefs::{BufferStats, Instance};

use crate::buffer_number;

/// Finds the size of a gap from the kernel's counts for the CPU.
///
/// A raw page has a flag for lost records before it, but their number only if there is room after its data. The kernel takes
/// that number from the counts in `stats`: it is the increase since the previous gap (`rb_get_reader_page` in
/// `kernel/trace/ring_buffer.c`). This crate reads the counts a little later. So a gap may be reported too large, by records
/// of the next gap, which is then reported smaller. The sum is right.
#[derive(Debug)]
pub(crate) struct Losses {
    instance: BufferStats,
    second: Option<BufferStats>,
    /// Lost records that were reported, by buffer number.
    reported: BTreeMap<u32, u64>,
}

impl Losses {
    /// The losses of an instance, and optionally a second one, from which nothing has been read yet.
    pub(crate) fn of(instance: &Instance, second: Option<&Instance>) -> Self {
        Self {
            instance: instance.buffer_stats(),
            second: second.map(Instance::buffer_stats),
            reported: BTreeMap::new(),
        }
    }

    /// The kernel counts the lost records of a buffer from 0 again, because it was emptied.
    pub(crate) fn begin_anew(&mut self, buffer: u32) {
        self.reported.remove(&buffer);
    }

    /// The lost records of a buffer that were not returned before.
    pub(crate) fn take_unreported(&mut self, buffer: u32) -> u64 {
        let second = self.second.as_ref().filter(|_| buffer_number::is_in_second(buffer));
        let stats = second.unwrap_or(&self.instance);
        let lost = match stats.of_cpu(buffer_number::cpu(buffer)) {
            Ok(counts) => counts.lost(),
            Err(error) => {
                log::debug!("{error}");
                return 0;
            }
        };
        let reported = self.reported.entry(buffer).or_default();
        let unreported = lost.saturating_sub(*reported);
        *reported = lost.max(*reported);
        unreported
    }
}

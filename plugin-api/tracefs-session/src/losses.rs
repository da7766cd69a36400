//! The number of lost records in each gap of the ring buffer.

use std::collections::BTreeMap;

use trace_hook_api::log;
use tracefs::ring::Lost;
use tracefs::{BufferStats, Instance};

use crate::buffer_number;

/// Finds the size of a gap from the number that the kernel has stored in the page after it, and from the kernel's counts for
/// the CPU.
///
/// The stored number is the increase of the counts from gap to gap, at the time when the kernel took the page out of the
/// buffer (`rb_get_reader_page` in `kernel/trace/ring_buffer.c`). It is missing if records fill the page to its end and the
/// gap was not expected ([`tracefs::ring::RingBuffer::collect`]): the reader was interrupted within its read. This crate
/// reads the counts later, when the records before the next page may be overwritten too. So such a gap may be reported too
/// large, by records of the next gap, which is then reported smaller. The sum is right.
#[derive(Debug)]
pub(crate) struct Losses {
    instance: BufferStats,
    second: Option<BufferStats>,
    /// By buffer number.
    reported: BTreeMap<u32, Reported>,
}

/// The number of lost records of a buffer that were reported.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reported(u64);

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

    /// The lost records in a gap before a page of a buffer.
    pub(crate) fn take(&mut self, buffer: u32, gap: Lost) -> u64 {
        let counted = self.counted(buffer);
        self.reported.entry(buffer).or_default().take(gap, counted)
    }

    /// The lost records of a buffer that were not returned before.
    pub(crate) fn take_unreported(&mut self, buffer: u32) -> u64 {
        let counted = self.counted(buffer);
        self.reported.entry(buffer).or_default().take_all(counted)
    }

    /// The lost records of a buffer that the kernel has counted.
    fn counted(&self, buffer: u32) -> u64 {
        let second = self.second.as_ref().filter(|_| buffer_number::is_in_second(buffer));
        let stats = second.unwrap_or(&self.instance);
        match stats.of_cpu(buffer_number::cpu(buffer)) {
            Ok(counts) => counts.lost(),
            Err(error) => {
                log::debug!("{error}");
                0
            }
        }
    }
}

impl Reported {
    /// The size of a gap, when the kernel has counted this many lost records.
    fn take(&mut self, gap: Lost, counted: u64) -> u64 {
        let unreported = counted.saturating_sub(self.0);
        // Less than the stored number if some of them were reported with an earlier gap.
        let size = gap.count.map_or(unreported, |stored| stored.min(unreported));
        self.0 += size;
        size
    }

    fn take_all(&mut self, counted: u64) -> u64 {
        self.take(Lost { count: None }, counted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNKNOWN: Lost = Lost { count: None };

    fn stored(count: u64) -> Lost {
        Lost { count: Some(count) }
    }

    #[test]
    fn records_overwritten_after_the_page_was_read_belong_to_the_next_gap() {
        let mut reported = Reported::default();
        // The counts include another page of 145 already.
        assert_eq!(reported.take(stored(145), 290), 145);
        assert_eq!(reported.take(stored(145), 290), 145);
        assert_eq!(reported.take_all(290), 0);
    }

    #[test]
    fn no_record_is_reported_twice_after_a_gap_of_unknown_size() {
        let mut reported = Reported::default();
        assert_eq!(reported.take(UNKNOWN, 290), 290);
        assert_eq!(reported.take(stored(145), 290), 0);
        assert_eq!(reported.take(stored(145), 580), 145);
        assert_eq!(reported.take_all(580), 145);
    }

    #[test]
    fn what_another_process_has_emptied_is_not_reported_again() {
        let mut reported = Reported(1000);
        assert_eq!(reported.take(stored(145), 145), 0);
        assert_eq!(reported, Reported(1000));
    }

    proptest! {
        /// Each gap: the records lost before its page, those lost between the page and the counts, and whether there is a
        /// number in the page.
        #[test]
        fn stored_numbers_are_exact_and_the_sum_is_right(
            gaps in prop::collection::vec((1u64..1000, 0u64..300, any::<bool>()), 0..50),
        ) {
            let (mut reported, mut sum, mut all_stored) = (Reported::default(), 0, true);
            let (mut at_last_page, mut counted) = (0, 0);
            for (before, after, is_stored) in gaps {
                let at_page = counted + before;
                counted = at_page + after;
                let size = at_page - at_last_page;
                at_last_page = at_page;
                all_stored &= is_stored;
                let taken = reported.take(if is_stored { stored(size) } else { UNKNOWN }, counted);
                sum += taken;
                prop_assert!(!all_stored || taken == size);
                prop_assert!((at_page..=counted).contains(&sum));
            }
            prop_assert_eq!(sum + reported.take_all(counted), counted);
        }
    }
}

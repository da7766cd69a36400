//! Moves the pages of the kernel's ring buffer into a spool.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use trace_hook_api::Result;
use trace_session::spool::Spool;
use trace_session::{Collect, Occasion, Swept};
use tracefs::ring::{CollectedPage, RingBuffer, Sweep};

use crate::losses::Losses;

/// The time between two sweeps while there are few records, which bounds the delay of a line.
const LONGEST_REST: Duration = Duration::from_millis(30);
/// The longest time without a sweep that reads all pages, including those that look like the one being written.
const LONGEST_WITHOUT_WHOLE: Duration = Duration::from_secs(1);
/// The pages in one sweep of a busy task: a tenth of the kernel's default buffer.
const BUSY: u64 = 32;

/// Collects pages.
#[derive(Debug)]
pub(crate) struct PageCollector {
    ring: RingBuffer,
    losses: Losses,
    spool: Arc<Spool>,
    /// The number of sweeps that read all records that existed when the sweep began.
    whole_sweeps: Arc<AtomicU64>,
    last_whole: Instant,
}

impl PageCollector {
    /// Collects from `ring` into `spool`, and counts its whole sweeps in `whole_sweeps`.
    pub(crate) fn new(
        ring: RingBuffer,
        losses: Losses,
        spool: Arc<Spool>,
        whole_sweeps: Arc<AtomicU64>,
    ) -> Self {
        Self { ring, losses, spool, whole_sweeps, last_whole: Instant::now() }
    }

    /// Moves the available pages; without `all`, up to the pages being written.
    fn move_pages(&mut self, all: bool) -> Result<Sweep> {
        let (losses, spool) = (&mut self.losses, &self.spool);
        let keep = |page: CollectedPage<'_>| {
            let lost = if page.lost.is_some() { losses.take_unreported(page.cpu) } else { 0 };
            spool.push_page(page.cpu, page.bytes, page.records, lost);
        };
        let sweep = if all { self.ring.collect(keep)? } else { self.ring.catch_up(keep)? };
        self.spool.push_settled(sweep.settled);
        Ok(sweep)
    }
}

impl Collect for PageCollector {
    /// On a kernel whose buffers poll as readable from the first record on, each sweep interrupts the traced task once. During
    /// this time, a busy task fills a third of the kernel's default buffer.
    const SHORTEST_REST: Duration = Duration::from_millis(2);

    fn sweep(&mut self, occasion: Occasion) -> Result<Swept> {
        let all = occasion != Occasion::Regular || self.last_whole.elapsed() >= LONGEST_WITHOUT_WHOLE;
        let Sweep { mut pages, drained, whole, .. } = self.move_pages(all)?;
        if whole {
            self.last_whole = Instant::now();
            self.whole_sweeps.fetch_add(1, Ordering::Release);
        }
        if !drained {
            return Ok(Swept::again(false));
        }
        if occasion == Occasion::Stopped {
            // No page reports the losses after the last page.
            for buffer in self.ring.cpus() {
                self.spool.lose(buffer, self.losses.take_unreported(buffer));
            }
        } else if pages < BUSY && pages > 0 {
            // A record is settled by the sweep after the one that found it.
            pages += self.move_pages(true)?.pages;
        }
        let rest = if pages >= BUSY { Self::SHORTEST_REST } else { LONGEST_REST };
        Ok(Swept::rest(pages > 0, rest))
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.ring.descriptors().collect()
    }
}

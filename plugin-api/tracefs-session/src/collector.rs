//! Moves the pages of the kernel's ring buffer into a spool.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use trace_hook_api::{Result, log};
use trace_session::spool::Spool;
use trace_session::{Collect, Occasion, Swept};
use tracefs::RecordClock;
use tracefs::ring::{CollectedPage, RingBuffer, Sweep};

use crate::clock_reading;
use crate::losses::Losses;
use crate::tampering::Consumption;

/// The time between two sweeps while there are few records, which bounds the delay of a line.
const LONGEST_REST: Duration = Duration::from_millis(30);
/// The longest time without a sweep that reads all pages, including those that look like the one being written.
const LONGEST_WITHOUT_WHOLE: Duration = Duration::from_secs(1);
/// After so many sweeps without a record, the collector sleeps until there is one. Where many sessions are idle, each wake-up
/// and each system call of one costs a little for each of them: the kernel looks at all their filters.
const IDLE_AFTER: u32 = 10;
/// The pages in one sweep of a busy task: a tenth of the kernel's default buffer.
const BUSY: u64 = 32;

/// Collects pages.
#[derive(Debug)]
pub(crate) struct PageCollector {
    ring: RingBuffer,
    clock: RecordClock,
    losses: Losses,
    consumption: Consumption,
    spool: Arc<Spool>,
    /// The number of sweeps that read all records that existed when the sweep began.
    whole_sweeps: Arc<AtomicU64>,
    last_whole: Instant,
    /// The number of the last sweeps that found nothing.
    empty_sweeps: u32,
    /// The first record wakes the collector.
    is_idle: bool,
}

impl PageCollector {
    /// Collects from `ring`, whose records have time stamps of `clock`, into `spool`, and counts its whole sweeps in
    /// `whole_sweeps`.
    pub(crate) fn new(
        ring: RingBuffer,
        clock: RecordClock,
        losses: Losses,
        consumption: Consumption,
        spool: Arc<Spool>,
        whole_sweeps: Arc<AtomicU64>,
    ) -> Self {
        Self {
            ring,
            clock,
            losses,
            consumption,
            spool,
            whole_sweeps,
            last_whole: Instant::now(),
            empty_sweeps: 0,
            is_idle: false,
        }
    }

    fn set_idle(&mut self, is_idle: bool) {
        if is_idle != self.is_idle {
            self.is_idle = self.ring.wake_at_first_record(is_idle) && is_idle;
        }
    }

    /// Moves the available pages; without `all`, up to the pages being written.
    fn move_pages(&mut self, all: bool) -> Result<Sweep> {
        let (losses, consumption, spool) = (&mut self.losses, &mut self.consumption, &self.spool);
        let keep = |page: CollectedPage<'_>| {
            consumption.collected(page.cpu, page.records, page.damage.is_some());
            let lost = page.lost.map_or(0, |gap| losses.take(page.cpu, gap));
            spool.push_page(page.cpu, page.bytes, page.records, lost);
        };
        let sweep = if all { self.ring.collect(keep)? } else { self.ring.catch_up(keep)? };
        // After the pages, whose records are older, and before they can be rendered.
        if sweep.pages > 0 {
            match clock_reading::read(&self.clock) {
                Ok(reading) => self.spool.push_clock(reading),
                Err(error) => log::debug!("{}", error.message()),
            }
        }
        self.spool.push_settled(sweep.settled);
        Ok(sweep)
    }

    /// Counts what other processes have read from the buffers as lost.
    fn look_at_other_readers(&mut self) {
        for finding in self.consumption.look() {
            self.spool.lose(finding.buffer, finding.taken);
            if finding.taken > 0 {
                // With the records, others read the kernel's reports of the gaps before them.
                self.spool.lose(finding.buffer, self.losses.take_unreported(finding.buffer));
            }
            if finding.emptied {
                self.losses.begin_anew(finding.buffer);
            }
        }
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
        if self.consumption.is_due() || (drained && occasion == Occasion::Stopped) {
            self.look_at_other_readers();
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
        self.empty_sweeps = if pages > 0 { 0 } else { self.empty_sweeps.saturating_add(1) };
        self.set_idle(self.empty_sweeps >= IDLE_AFTER);
        let rest = match (self.is_idle, pages >= BUSY) {
            (true, _) => LONGEST_WITHOUT_WHOLE,
            (false, true) => Self::SHORTEST_REST,
            (false, false) => LONGEST_REST,
        };
        Ok(Swept::rest(pages > 0, rest))
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.ring.descriptors().collect()
    }
}

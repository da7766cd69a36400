//! The records of all CPUs in the order of time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use trace_hook_api::Result;
use trace_session::spool::{Entry, Spool, SpoolReader};

use crate::perf_event::{Record, Records};

/// Sorts the records of a spool by time. Those of one CPU are nearly in order, those of several are not.
#[derive(Debug)]
pub struct Timeline {
    spool: SpoolReader,
    /// By time, and within the same time by arrival.
    waiting: BTreeMap<(u64, u64), Item>,
    arrived: u64,
    settled: u64,
    is_complete: bool,
}

/// An entry of the timeline.
#[derive(Debug)]
pub enum Item {
    /// The bytes of a record.
    Record(Box<[u8]>),
    /// This CPU has lost this many records.
    Lost(u32, u64),
}

impl Timeline {
    pub fn of(spool: &Arc<Spool>) -> Self {
        Self {
            spool: SpoolReader::new(Arc::clone(spool)),
            waiting: BTreeMap::new(),
            arrived: 0,
            settled: 0,
            is_complete: false,
        }
    }

    /// To be called when nothing more goes into the spool.
    pub fn complete(&mut self) {
        self.is_complete = true;
    }

    /// The next entry, once no earlier one can come.
    ///
    /// # Errors
    ///
    /// The spool's file cannot be read.
    pub fn next(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some(first) = self.waiting.first_entry()
                && first.key().0 <= self.settled
            {
                return Ok(Some(first.remove()));
            }
            let mut new = VecDeque::new();
            match self.spool.pop()? {
                // The spool may have had no room for the last settled time.
                None if self.is_complete && self.settled < u64::MAX => self.settled = u64::MAX,
                None => return Ok(None),
                Some(Entry::Settled(stamp)) => self.settled = stamp,
                // Nothing adds such an entry here.
                Some(Entry::Clock(_)) => {}
                Some(Entry::Unread { cpu, lost }) => new.push_back((self.settled, Item::Lost(cpu, lost))),
                Some(Entry::Page { cpu, bytes, lost }) => {
                    for (bytes, Record { time, .. }) in Records(bytes) {
                        new.push_back((time, Item::Record(bytes.into())));
                    }
                    if let Some((time, _)) = new.front()
                        && lost > 0
                    {
                        new.push_front((*time, Item::Lost(cpu, lost)));
                    }
                }
            }
            for (time, item) in new {
                self.waiting.insert((time, self.arrived), item);
                self.arrived += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::perf_event::Body;

    fn named(time: u64, name: &[u8]) -> Vec<u8> {
        let body = Body::Comm { name, is_exec: false };
        Record { time, cpu: 0, process: 1, thread: 1, id: 0, body }.to_bytes()
    }

    fn entries(timeline: &mut Timeline) -> Vec<String> {
        let text = |item| match item {
            Item::Lost(cpu, count) => format!("lost {count} on {cpu}"),
            Item::Record(bytes) => format!("{:?}", Records(&bytes).next().map(|(_, record)| record.time)),
        };
        std::iter::from_fn(|| timeline.next().unwrap()).map(text).collect()
    }

    #[test]
    fn settled_records_come_in_order_with_losses_in_place() {
        let spool = Arc::new(Spool::new(Path::new("/var/tmp"), 1 << 20));
        let mut timeline = Timeline::of(&spool);
        spool.push_page(0, &[named(5, b"a"), named(20, b"b")].concat(), 0, 0);
        spool.push_page(1, &[named(10, b"c"), named(30, b"d")].concat(), 0, 7);
        assert!(entries(&mut timeline).is_empty());
        spool.push_settled(20);
        assert_eq!(entries(&mut timeline), ["Some(5)", "lost 7 on 1", "Some(10)", "Some(20)"]);
        timeline.complete();
        assert_eq!(entries(&mut timeline), ["Some(30)"]);
    }

    #[test]
    fn records_that_cannot_be_read_back_are_reported_lost_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::new(directory.path(), 64 << 20));
        let mut timeline = Timeline::of(&spool);
        let pages: u64 = 4000;
        for number in 1..=pages {
            assert!(spool.push_page(3, &named(number, &[b'x'; 4000]), 1, 0));
            spool.push_settled(number);
        }
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten().map(|entry| entry.path());
        let mut ours =
            descriptors.filter(|fd| fd.read_link().is_ok_and(|path| path.starts_with(directory.path())));
        std::fs::write(ours.next().expect("the spool uses a file"), "").unwrap();
        timeline.complete();
        let entries = entries(&mut timeline);
        let gaps = |line: &String| line.strip_prefix("lost ")?.strip_suffix(" on 3")?.parse::<u64>().ok();
        let lost: u64 = entries.iter().filter_map(gaps).sum();
        let records = entries.iter().filter(|line| line.starts_with("Some(")).count() as u64;
        assert!(lost > 0 && records + lost == pages, "{records} and {lost}");
        assert!(
            entries.first().is_some_and(|line| line.starts_with("Some(")),
            "the first records are in memory"
        );
    }
}

//! The records of all CPUs in the order of time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use trace_hook_api::Result;
use tracefs::spool::{Entry, Spool, SpoolReader};

use crate::perf_event::{Record, Records};

/// Takes records out of a spool. Those of one CPU are nearly in order, those of several are not.
#[derive(Debug)]
pub struct Timeline {
    spool: SpoolReader,
    /// By time, and those of the same time as they came.
    waiting: BTreeMap<(u64, u64), Item>,
    came: u64,
    settled: u64,
    is_complete: bool,
}

/// What happened next.
#[derive(Debug)]
pub enum Item {
    /// A record, as it is.
    Record(Box<[u8]>),
    /// On this CPU so many were lost.
    Lost(u32, u64),
}

impl Timeline {
    pub fn of(spool: &Arc<Spool>) -> Self {
        Self {
            spool: SpoolReader::new(Arc::clone(spool)),
            waiting: BTreeMap::new(),
            came: 0,
            settled: 0,
            is_complete: false,
        }
    }

    /// Says that nothing more goes into the spool.
    pub fn complete(&mut self) {
        self.is_complete = true;
    }

    /// The next, if it is known to be the next.
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
                // The spool had no room, maybe, for the last word on what is settled.
                None if self.is_complete && self.settled < u64::MAX => self.settled = u64::MAX,
                None => return Ok(None),
                Some(Entry::Settled(stamp)) => self.settled = stamp,
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
                self.waiting.insert((time, self.came), item);
                self.came += 1;
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
        let body = Body::Named { name, is_exec: false };
        Record { time, cpu: 0, process: 1, thread: 1, id: 0, body }.to_bytes()
    }

    fn told(timeline: &mut Timeline) -> Vec<String> {
        let tell = |item| match item {
            Item::Lost(cpu, count) => format!("lost {count} on {cpu}"),
            Item::Record(bytes) => format!("{:?}", Records(&bytes).next().map(|(_, record)| record.time)),
        };
        std::iter::from_fn(|| timeline.next().unwrap()).map(tell).collect()
    }

    #[test]
    fn what_is_settled_comes_in_order_with_gaps_where_they_are() {
        let spool = Arc::new(Spool::new(Path::new("/var/tmp"), 1 << 20));
        let mut timeline = Timeline::of(&spool);
        spool.push_page(0, &[named(5, b"a"), named(20, b"b")].concat(), 0, 0);
        spool.push_page(1, &[named(10, b"c"), named(30, b"d")].concat(), 0, 7);
        assert!(told(&mut timeline).is_empty());
        spool.push_settled(20);
        assert_eq!(told(&mut timeline), ["Some(5)", "lost 7 on 1", "Some(10)", "Some(20)"]);
        timeline.complete();
        assert_eq!(told(&mut timeline), ["Some(30)"]);
    }

    #[test]
    fn what_the_disk_does_not_give_back_is_told_where_it_is_missing() {
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
        std::fs::write(ours.next().expect("more than goes into memory"), "").unwrap();
        timeline.complete();
        let told = told(&mut timeline);
        let gaps = |line: &String| line.strip_prefix("lost ")?.strip_suffix(" on 3")?.parse::<u64>().ok();
        let lost: u64 = told.iter().filter_map(gaps).sum();
        let records = told.iter().filter(|line| line.starts_with("Some(")).count() as u64;
        assert!(lost > 0 && records + lost == pages, "{records} and {lost}");
        assert!(told.first().is_some_and(|line| line.starts_with("Some(")), "what was read before");
    }
}

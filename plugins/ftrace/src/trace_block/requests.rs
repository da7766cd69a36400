//! The requests under way.

use std::collections::BTreeMap;

use super::records::Span;

/// A request of a traced task. Times are those of the records, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub owner: Owner,
    pub span: Span,
    pub began: u64,
    /// When it was given to the device, once it was.
    pub issued: Option<u64>,
}

/// Who has made it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    pub pid: Option<u32>,
    pub tid: Option<u32>,
    pub comm: Vec<u8>,
}

/// A device, a sector of it, and the order in which requests came there.
type Place = (u32, u64, u64);

/// The requests of the traced tasks that are not done.
///
/// Only its place, its operation and its length tell a request from others: where two of the same are at the same place at
/// the same time, one may be taken for the other, but two they stay.
#[derive(Debug, Default)]
pub struct Requests {
    at: BTreeMap<Place, UnderWay>,
    flushes: BTreeMap<u32, Flushes>,
    /// How many have come to their places.
    came: u64,
    /// What was under way when records were lost.
    cut_off: Vec<Request>,
}

#[derive(Debug)]
struct UnderWay {
    request: Request,
    /// How many sectors are not done. A device may do the first ones first.
    left: u64,
}

/// The flushes that tasks have asked of a device. It is given one for all that have asked until then.
#[derive(Debug, Default)]
struct Flushes {
    asked: Vec<Request>,
    issued: Vec<Request>,
}

impl Requests {
    /// A traced task has made a request.
    pub fn begins(&mut self, request: Request) {
        if request.span.operation.is_flush() {
            self.flushes.entry(request.span.device).or_default().asked.push(request);
        } else {
            let (device, sector, left) = (request.span.device, request.span.sector, request.span.sectors);
            self.put(device, sector, UnderWay { request, left });
        }
    }

    /// A request is given to the device. Since it began it has grown if others were joined to it, at either end. Whether
    /// it is a traced task's.
    pub fn issued(&mut self, span: &Span, now: u64) -> bool {
        let joined = self.joined_in(span).into_iter().filter_map(|place| self.at.remove(&place));
        let Some(mut request) = joined.map(|way| way.request).min_by_key(|request| request.began) else {
            return false;
        };
        request.span = Span { operation: request.span.operation, ..span.clone() };
        request.issued = Some(now);
        let left = request.span.sectors;
        self.put(span.device, span.sector, UnderWay { request, left });
        true
    }

    /// The requests that make up the one with this span, one behind the other.
    fn joined_in(&self, span: &Span) -> Vec<Place> {
        let (mut from, end) = (span.sector, span.sector.saturating_add(span.sectors.max(1)));
        let mut joined = Vec::new();
        while from < end {
            let within = self.at.range((span.device, from, 0)..(span.device, end, 0));
            let is_it = |(_, sector, _): Place, way: &UnderWay| {
                // It comes again if the device did not take it.
                way.is_of(span) && (way.request.issued.is_none() || sector == span.sector)
            };
            let next = within.filter(|(place, way)| is_it(**place, way)).min_by_key(|(place, way)| {
                let (_, sector, came) = **place;
                (sector, way.request.issued.is_some(), sector.saturating_add(way.left) != end, came)
            });
            let Some((place, way)) = next else { break };
            joined.push(*place);
            from = place.1.saturating_add(way.left.max(1));
        }
        joined
    }

    /// A request, or the first part of it, is done. The traced task's request that is done now, if it is one.
    pub fn completes(&mut self, span: &Span, error: i64) -> Option<Request> {
        let there = self.at.range((span.device, span.sector, 0)..=(span.device, span.sector, u64::MAX));
        // The end of one that is not issued is somebody else's.
        let issued = there.filter(|(_, way)| way.is_of(span) && way.request.issued.is_some());
        let (place, _) = issued.min_by_key(|(place, way)| (way.left != span.sectors, **place))?;
        let place = *place;
        let UnderWay { request, left } = self.at.remove(&place)?;
        if error == 0 && (1..left).contains(&span.sectors) {
            let rest = UnderWay { request, left: left - span.sectors };
            self.put(span.device, span.sector + span.sectors, rest);
            return None;
        }
        Some(request)
    }

    /// The device is given a flush.
    pub fn flush_issued(&mut self, device: u32, now: u64) {
        if let Some(flushes) = self.flushes.get_mut(&device) {
            let asked = flushes.asked.drain(..);
            flushes.issued.extend(asked.map(|request| Request { issued: Some(now), ..request }));
        }
    }

    /// The device has flushed. The traced tasks' flushes that are done with that.
    pub fn flush_completes(&mut self, device: u32) -> Vec<Request> {
        self.flushes.get_mut(&device).map(|flushes| std::mem::take(&mut flushes.issued)).unwrap_or_default()
    }

    /// Some records are missing: what was under way may be done, and what comes to its place somebody else's.
    pub fn lost(&mut self) {
        let unfinished = self.take_unfinished();
        self.cut_off = unfinished;
    }

    /// What was under way when records were lost, in the order in which it was made. None is left.
    pub fn take_cut_off(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.cut_off)
    }

    /// All that are not done, in the order in which they were made. None is left.
    pub fn take_unfinished(&mut self) -> Vec<Request> {
        let flushes = std::mem::take(&mut self.flushes).into_values();
        let flushes = flushes.flat_map(|flushes| flushes.issued.into_iter().chain(flushes.asked));
        let at = std::mem::take(&mut self.at).into_values().map(|way| way.request);
        let mut all: Vec<Request> = self.take_cut_off().into_iter().chain(at).chain(flushes).collect();
        all.sort_by_key(|request| request.began);
        all
    }

    fn put(&mut self, device: u32, sector: u64, way: UnderWay) {
        self.came += 1;
        self.at.insert((device, sector, self.came), way);
    }
}

impl UnderWay {
    /// Whether it may be the one that a record with this span is about.
    fn is_of(&self, span: &Span) -> bool {
        self.request.span.operation.name == span.operation.name
    }
}

#[cfg(test)]
mod tests {
    use super::super::operation::Operation;
    use super::*;

    const DISK: u32 = 254 << 20;

    fn span(letters: &str, sector: u64, sectors: u64) -> Span {
        Span { device: DISK, sector, sectors, operation: Operation::of(letters.as_bytes(), sectors * 512) }
    }

    fn begun(span: Span, began: u64) -> Request {
        Request { owner: Owner::default(), span, began, issued: None }
    }

    fn requests(begun_ones: impl IntoIterator<Item = Request>) -> Requests {
        let mut requests = Requests::default();
        begun_ones.into_iter().for_each(|request| requests.begins(request));
        requests
    }

    #[test]
    fn a_request_is_issued_and_done() {
        let mut requests = requests([begun(span("RS", 80, 8), 100)]);
        assert!(requests.issued(&span("RS", 80, 8), 150));
        let done = requests.completes(&span("RS", 80, 8), 0).unwrap();
        assert_eq!((done.began, done.issued), (100, Some(150)));
        assert_eq!(requests.take_unfinished(), []);
    }

    #[test]
    fn others_requests_are_no_concern() {
        let mut requests = requests([begun(span("R", 80, 8), 100)]);
        assert!(!requests.issued(&span("R", 88, 8), 110));
        assert!(!requests.issued(&span("W", 80, 8), 110), "it is not a write");
        assert_eq!(requests.completes(&span("R", 80, 8), 0), None, "it is not issued yet");
        assert_eq!(requests.completes(&span("R", 88, 8), 0), None);
        assert_eq!(requests.take_unfinished().len(), 1);
    }

    #[test]
    fn what_is_joined_is_one_request_of_who_began() {
        let mut requests = requests([
            begun(span("R", 88, 8), 100),
            begun(span("R", 80, 8), 105),
            begun(span("R", 96, 8), 107),
        ]);
        assert!(requests.issued(&span("R", 80, 16), 150));
        let done = requests.completes(&span("R", 80, 16), 0).unwrap();
        assert_eq!((done.began, done.span.sector, done.span.size()), (100, 80, 8192));
        assert_eq!(requests.take_unfinished().len(), 1);
    }

    #[test]
    fn a_request_is_done_with_its_last_part() {
        let mut requests = requests([begun(span("W", 80, 24), 100)]);
        requests.issued(&span("W", 80, 24), 110);
        assert_eq!(requests.completes(&span("W", 80, 8), 0), None);
        assert_eq!(requests.completes(&span("W", 88, 8), 0), None);
        let done = requests.completes(&span("W", 96, 8), 0).unwrap();
        assert_eq!((done.span.sector, done.span.sectors), (80, 24));
    }

    #[test]
    fn an_error_ends_a_request() {
        let mut requests = requests([begun(span("W", 80, 24), 100)]);
        requests.issued(&span("W", 80, 24), 110);
        assert!(requests.completes(&span("W", 80, 8), 5).is_some());
    }

    #[test]
    fn a_request_under_way_is_not_joined_to_a_later_one() {
        let mut requests = requests([begun(span("R", 88, 8), 100)]);
        requests.issued(&span("R", 88, 8), 110);
        assert!(!requests.issued(&span("R", 80, 16), 120), "somebody else reads more");
        assert_eq!(requests.completes(&span("R", 80, 16), 0), None);
        assert_eq!(requests.completes(&span("R", 88, 8), 0).unwrap().issued, Some(110));
    }

    #[test]
    fn a_request_that_was_not_taken_is_issued_again() {
        let mut requests = requests([begun(span("R", 80, 8), 100)]);
        requests.issued(&span("R", 80, 8), 110);
        assert!(requests.issued(&span("R", 80, 8), 140));
        assert_eq!(requests.completes(&span("R", 80, 8), 0).unwrap().issued, Some(140));
    }

    #[test]
    fn two_at_the_same_place_at_the_same_time_are_two() {
        let mut requests = requests([begun(span("R", 80, 8), 100), begun(span("R", 80, 8), 105)]);
        assert!(requests.issued(&span("R", 80, 8), 110));
        assert!(requests.issued(&span("R", 80, 8), 120));
        assert!(requests.issued(&span("R", 80, 8), 130), "the first comes again");
        let mut done = || requests.completes(&span("R", 80, 8), 0).map(|done| (done.began, done.issued));
        assert_eq!(done(), Some((105, Some(120))));
        assert_eq!(done(), Some((100, Some(130))));
        assert_eq!(done(), None);
    }

    #[test]
    fn at_the_same_place_operations_and_lengths_tell_requests() {
        let mut requests = requests([
            begun(span("R", 80, 8), 100),
            begun(span("R", 80, 24), 101),
            begun(span("W", 80, 8), 102),
        ]);
        for issued in [span("W", 80, 8), span("R", 80, 24), span("R", 80, 8)] {
            assert!(requests.issued(&issued, 110));
        }
        let mut done = |span| requests.completes(&span, 0).unwrap().began;
        let began = [span("R", 80, 24), span("W", 80, 8), span("R", 80, 8)].map(&mut done);
        assert_eq!(began, [101, 102, 100]);
    }

    #[test]
    fn of_two_at_the_same_place_one_is_joined() {
        let mut requests = requests([
            begun(span("R", 80, 8), 100),
            begun(span("R", 80, 8), 101),
            begun(span("R", 88, 8), 102),
        ]);
        assert!(requests.issued(&span("R", 80, 16), 110));
        assert!(requests.issued(&span("R", 80, 8), 120));
        assert_eq!(requests.completes(&span("R", 80, 16), 0).unwrap().began, 100);
        assert_eq!(requests.completes(&span("R", 80, 8), 0).unwrap().began, 101);
        assert_eq!(requests.take_unfinished(), []);
    }

    #[test]
    fn what_comes_again_takes_nothing_with_it() {
        let mut requests = requests([begun(span("R", 80, 16), 100)]);
        requests.issued(&span("R", 80, 16), 110);
        requests.begins(begun(span("R", 88, 8), 115));
        assert!(requests.issued(&span("R", 80, 16), 120));
        assert_eq!(requests.take_unfinished().len(), 2);
    }

    #[test]
    fn after_a_gap_no_end_belongs_to_a_request_before() {
        let mut requests = requests([begun(span("W", 88, 8), 105), begun(span("R", 80, 8), 100)]);
        requests.begins(begun(span("FWS", 0, 0), 110));
        requests.issued(&span("R", 80, 8), 115);
        requests.flush_issued(DISK, 120);
        requests.lost();
        assert_eq!(requests.completes(&span("R", 80, 8), 0), None);
        assert!(!requests.issued(&span("W", 88, 8), 130));
        assert!(requests.flush_completes(DISK).is_empty());
        requests.lost();
        let began: Vec<u64> = requests.take_cut_off().iter().map(|request| request.began).collect();
        assert_eq!(began, [100, 105, 110]);
        assert_eq!(requests.take_unfinished(), []);
    }

    #[test]
    fn one_flush_is_for_all_that_asked_before() {
        let mut requests = requests([begun(span("FWS", 0, 0), 100), begun(span("FWS", 0, 0), 105)]);
        requests.flush_issued(DISK, 110);
        requests.begins(begun(span("FWS", 0, 0), 115));
        assert!(requests.flush_completes(DISK + 1).is_empty());
        let done = requests.flush_completes(DISK);
        assert_eq!(done.iter().map(|done| done.began).collect::<Vec<_>>(), [100, 105]);
        assert_eq!(done[0].issued, Some(110));
        assert_eq!(requests.take_unfinished()[0].began, 115);
    }
}

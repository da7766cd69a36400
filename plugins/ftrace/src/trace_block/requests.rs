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

/// A device and a sector of it.
type Place = (u32, u64);

/// The requests of the traced tasks that are not done.
///
/// Only its place tells a request from others: where two are at the same place at the same time, one may be taken for
/// the other.
#[derive(Debug, Default)]
pub struct Requests {
    at: BTreeMap<Place, UnderWay>,
    flushes: BTreeMap<u32, Flushes>,
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
            self.put(request);
        }
    }

    /// A request is given to the device. Since it began it has grown if others were joined to it, at either end. Whether
    /// it is a traced task's.
    pub fn issued(&mut self, span: &Span, now: u64) -> bool {
        let (device, sector) = (span.device, span.sector);
        let within = self.at.range((device, sector)..(device, sector + span.sectors.max(1)));
        let is_it = |place: Place, request: &Request| {
            // It comes again if the device did not take it.
            let is_next = request.issued.is_none() || place == (device, sector);
            is_next && request.span.operation.name == span.operation.name
        };
        let joined: Vec<Place> =
            within.filter(|(place, way)| is_it(**place, &way.request)).map(|(place, _)| *place).collect();
        let joined = joined.iter().filter_map(|place| self.at.remove(place)).map(|way| way.request);
        let Some(mut request) = joined.min_by_key(|request| request.began) else {
            return false;
        };
        request.span = Span { operation: request.span.operation, ..span.clone() };
        request.issued = Some(now);
        self.put(request);
        true
    }

    /// A request, or the first part of it, is done. The traced task's request that is done now, if it is one.
    pub fn completes(&mut self, span: &Span, error: i64) -> Option<Request> {
        let place = (span.device, span.sector);
        let UnderWay { request, left } = self.at.remove(&place)?;
        if request.issued.is_none() {
            // Somebody else's, of the same place.
            self.at.insert(place, UnderWay { request, left });
            return None;
        }
        if error == 0 && (1..left).contains(&span.sectors) {
            let rest = UnderWay { request, left: left - span.sectors };
            self.at.insert((span.device, span.sector + span.sectors), rest);
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

    /// All that are not done, in the order in which they were made. None is left.
    pub fn take_unfinished(&mut self) -> Vec<Request> {
        let flushes = std::mem::take(&mut self.flushes).into_values();
        let flushes = flushes.flat_map(|flushes| flushes.issued.into_iter().chain(flushes.asked));
        let mut all: Vec<Request> =
            std::mem::take(&mut self.at).into_values().map(|way| way.request).chain(flushes).collect();
        all.sort_by_key(|request| request.began);
        all
    }

    fn put(&mut self, request: Request) {
        let left = request.span.sectors;
        self.at.insert((request.span.device, request.span.sector), UnderWay { request, left });
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

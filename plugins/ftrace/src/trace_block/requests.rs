//! The requests in progress.

use std::collections::BTreeMap;

use super::records::Span;

/// A request of a traced task. Times are those of the records, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub owner: Owner,
    pub span: Span,
    pub began: u64,
    /// When it was issued to the device.
    pub issued: Option<u64>,
}

/// The task that made it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    pub pid: Option<u32>,
    pub tid: Option<u32>,
    pub comm: Vec<u8>,
}

/// A device, a sector of it, and a number that distinguishes requests that began there.
type Place = (u32, u64, u64);

/// The requests that are tracked at a time. With more, all of them are given up, as after lost records: some never complete,
/// because the kernel merged them into the request of an untraced task.
pub const MAX_IN_PROGRESS: usize = 1 << 16;

/// The requests of the traced tasks that have not completed.
///
/// Only place, operation and length identify a request. If two are equal in all of these at the same time, one may be mistaken
/// for the other, but they stay two.
#[derive(Debug, Default)]
pub struct Requests {
    at: BTreeMap<Place, InProgress>,
    flushes: BTreeMap<u32, Flushes>,
    /// The number of requests that were put into `at`.
    count: u64,
    /// The requests that were given up.
    given_up: Vec<Request>,
}

#[derive(Debug)]
struct InProgress {
    request: Request,
    /// The sectors that have not completed. A device may complete the first ones first.
    left: u64,
}

/// The flushes that tasks have requested of a device. One flush of the device completes all requested before it.
#[derive(Debug, Default)]
struct Flushes {
    requested: Vec<Request>,
    issued: Vec<Request>,
}

impl Requests {
    /// A traced task has made a request.
    pub fn begin(&mut self, request: Request) {
        if self.in_progress() >= MAX_IN_PROGRESS {
            self.give_up();
        }
        if request.span.operation.is_flush() {
            self.flushes.entry(request.span.device).or_default().requested.push(request);
        } else {
            let (device, sector, left) = (request.span.device, request.span.sector, request.span.sectors);
            self.put(device, sector, InProgress { request, left });
        }
    }

    /// A request is issued to the device. It may have grown since it began, if others were merged into it at either end.
    /// Returns whether it is one of a traced task.
    pub fn issue(&mut self, span: &Span, now: u64) -> bool {
        let merged = self.merged_into(span).into_iter().filter_map(|place| self.at.remove(&place));
        let Some(mut request) = merged.map(|way| way.request).min_by_key(|request| request.began) else {
            return false;
        };
        request.span = Span { operation: request.span.operation, ..span.clone() };
        request.issued = Some(now);
        let left = request.span.sectors;
        self.put(span.device, span.sector, InProgress { request, left });
        true
    }

    /// The requests that were merged into the one with this span, in the order of their sectors.
    fn merged_into(&self, span: &Span) -> Vec<Place> {
        let (mut from, end) = (span.sector, span.sector.saturating_add(span.sectors.max(1)));
        let mut merged = Vec::new();
        while from < end {
            let within = self.at.range((span.device, from, 0)..(span.device, end, 0));
            let is_it = |(_, sector, _): Place, way: &InProgress| {
                // It is issued again if the device was busy.
                way.is_of(span) && (way.request.issued.is_none() || sector == span.sector)
            };
            let next = within.filter(|(place, way)| is_it(**place, way)).min_by_key(|(place, way)| {
                let (_, sector, number) = **place;
                (sector, way.request.issued.is_some(), sector.saturating_add(way.left) != end, number)
            });
            let Some((place, way)) = next else { break };
            merged.push(*place);
            from = place.1.saturating_add(way.left.max(1));
        }
        merged
    }

    /// A request, or the first part of it, completes. Returns the traced task's request that is complete now, if any.
    pub fn complete(&mut self, span: &Span, error: i64) -> Option<Request> {
        let there = self.at.range((span.device, span.sector, 0)..=(span.device, span.sector, u64::MAX));
        // A completion cannot be of a request that was not issued.
        let issued = there.filter(|(_, way)| way.is_of(span) && way.request.issued.is_some());
        let (place, _) = issued.min_by_key(|(place, way)| (way.left != span.sectors, **place))?;
        let place = *place;
        let InProgress { request, left } = self.at.remove(&place)?;
        if error == 0 && (1..left).contains(&span.sectors) {
            let rest = InProgress { request, left: left - span.sectors };
            self.put(span.device, span.sector + span.sectors, rest);
            return None;
        }
        Some(request)
    }

    /// A flush is issued to the device.
    pub fn issue_flush(&mut self, device: u32, now: u64) {
        if let Some(flushes) = self.flushes.get_mut(&device) {
            let requested = flushes.requested.drain(..);
            flushes.issued.extend(requested.map(|request| Request { issued: Some(now), ..request }));
        }
    }

    /// A flush of the device completes. Returns the traced tasks' flushes that are complete with it.
    pub fn complete_flush(&mut self, device: u32) -> Vec<Request> {
        self.flushes.get_mut(&device).map(|flushes| std::mem::take(&mut flushes.issued)).unwrap_or_default()
    }

    /// Gives up all requests: later records are not taken to be about them. After lost records, a request may have completed,
    /// and another one be in its place.
    pub fn give_up(&mut self) {
        self.given_up = self.take_unfinished();
    }

    /// Takes the requests that were given up, in the order in which they were made.
    pub fn take_given_up(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.given_up)
    }

    /// Takes all requests that have not completed, in the order in which they were made.
    pub fn take_unfinished(&mut self) -> Vec<Request> {
        let flushes = std::mem::take(&mut self.flushes).into_values();
        let flushes = flushes.flat_map(|flushes| flushes.issued.into_iter().chain(flushes.requested));
        let at = std::mem::take(&mut self.at).into_values().map(|way| way.request);
        let mut all: Vec<Request> = self.take_given_up().into_iter().chain(at).chain(flushes).collect();
        all.sort_by_key(|request| request.began);
        all
    }

    fn in_progress(&self) -> usize {
        let flushes = self.flushes.values().map(|flushes| flushes.requested.len() + flushes.issued.len());
        self.at.len() + flushes.sum::<usize>()
    }

    fn put(&mut self, device: u32, sector: u64, way: InProgress) {
        self.count += 1;
        self.at.insert((device, sector, self.count), way);
    }
}

impl InProgress {
    /// Whether a record with this span may be about it.
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
        begun_ones.into_iter().for_each(|request| requests.begin(request));
        requests
    }

    #[test]
    fn request_is_issued_and_completes() {
        let mut requests = requests([begun(span("RS", 80, 8), 100)]);
        assert!(requests.issue(&span("RS", 80, 8), 150));
        let done = requests.complete(&span("RS", 80, 8), 0).unwrap();
        assert_eq!((done.began, done.issued), (100, Some(150)));
        assert_eq!(requests.take_unfinished(), []);
    }

    #[test]
    fn requests_of_untraced_tasks_are_ignored() {
        let mut requests = requests([begun(span("R", 80, 8), 100)]);
        assert!(!requests.issue(&span("R", 88, 8), 110));
        assert!(!requests.issue(&span("W", 80, 8), 110), "it is not a write");
        assert_eq!(requests.complete(&span("R", 80, 8), 0), None, "it is not issued yet");
        assert_eq!(requests.complete(&span("R", 88, 8), 0), None);
        assert_eq!(requests.take_unfinished().len(), 1);
    }

    #[test]
    fn merged_requests_are_one_of_the_task_that_began_first() {
        let mut requests = requests([
            begun(span("R", 88, 8), 100),
            begun(span("R", 80, 8), 105),
            begun(span("R", 96, 8), 107),
        ]);
        assert!(requests.issue(&span("R", 80, 16), 150));
        let done = requests.complete(&span("R", 80, 16), 0).unwrap();
        assert_eq!((done.began, done.span.sector, done.span.size()), (100, 80, 8192));
        assert_eq!(requests.take_unfinished().len(), 1);
    }

    #[test]
    fn request_completes_with_its_last_part() {
        let mut requests = requests([begun(span("W", 80, 24), 100)]);
        requests.issue(&span("W", 80, 24), 110);
        assert_eq!(requests.complete(&span("W", 80, 8), 0), None);
        assert_eq!(requests.complete(&span("W", 88, 8), 0), None);
        let done = requests.complete(&span("W", 96, 8), 0).unwrap();
        assert_eq!((done.span.sector, done.span.sectors), (80, 24));
    }

    #[test]
    fn error_completes_a_request() {
        let mut requests = requests([begun(span("W", 80, 24), 100)]);
        requests.issue(&span("W", 80, 24), 110);
        assert!(requests.complete(&span("W", 80, 8), 5).is_some());
    }

    #[test]
    fn issued_request_is_not_merged_into_a_later_one() {
        let mut requests = requests([begun(span("R", 88, 8), 100)]);
        requests.issue(&span("R", 88, 8), 110);
        assert!(!requests.issue(&span("R", 80, 16), 120), "an untraced task reads more");
        assert_eq!(requests.complete(&span("R", 80, 16), 0), None);
        assert_eq!(requests.complete(&span("R", 88, 8), 0).unwrap().issued, Some(110));
    }

    #[test]
    fn request_is_issued_again_if_the_device_was_busy() {
        let mut requests = requests([begun(span("R", 80, 8), 100)]);
        requests.issue(&span("R", 80, 8), 110);
        assert!(requests.issue(&span("R", 80, 8), 140));
        assert_eq!(requests.complete(&span("R", 80, 8), 0).unwrap().issued, Some(140));
    }

    #[test]
    fn equal_requests_at_the_same_time_are_two() {
        let mut requests = requests([begun(span("R", 80, 8), 100), begun(span("R", 80, 8), 105)]);
        assert!(requests.issue(&span("R", 80, 8), 110));
        assert!(requests.issue(&span("R", 80, 8), 120));
        assert!(requests.issue(&span("R", 80, 8), 130), "the first is issued again");
        let mut done = || requests.complete(&span("R", 80, 8), 0).map(|done| (done.began, done.issued));
        assert_eq!(done(), Some((105, Some(120))));
        assert_eq!(done(), Some((100, Some(130))));
        assert_eq!(done(), None);
    }

    #[test]
    fn operation_and_length_distinguish_requests_at_one_place() {
        let mut requests = requests([
            begun(span("R", 80, 8), 100),
            begun(span("R", 80, 24), 101),
            begun(span("W", 80, 8), 102),
        ]);
        for issued in [span("W", 80, 8), span("R", 80, 24), span("R", 80, 8)] {
            assert!(requests.issue(&issued, 110));
        }
        let mut done = |span| requests.complete(&span, 0).unwrap().began;
        let began = [span("R", 80, 24), span("W", 80, 8), span("R", 80, 8)].map(&mut done);
        assert_eq!(began, [101, 102, 100]);
    }

    #[test]
    fn only_one_of_two_equal_requests_is_merged() {
        let mut requests = requests([
            begun(span("R", 80, 8), 100),
            begun(span("R", 80, 8), 101),
            begun(span("R", 88, 8), 102),
        ]);
        assert!(requests.issue(&span("R", 80, 16), 110));
        assert!(requests.issue(&span("R", 80, 8), 120));
        assert_eq!(requests.complete(&span("R", 80, 16), 0).unwrap().began, 100);
        assert_eq!(requests.complete(&span("R", 80, 8), 0).unwrap().began, 101);
        assert_eq!(requests.take_unfinished(), []);
    }

    #[test]
    fn request_that_is_issued_again_merges_nothing() {
        let mut requests = requests([begun(span("R", 80, 16), 100)]);
        requests.issue(&span("R", 80, 16), 110);
        requests.begin(begun(span("R", 88, 8), 115));
        assert!(requests.issue(&span("R", 80, 16), 120));
        assert_eq!(requests.take_unfinished().len(), 2);
    }

    #[test]
    fn given_up_requests_do_not_complete() {
        let mut requests = requests([begun(span("W", 88, 8), 105), begun(span("R", 80, 8), 100)]);
        requests.begin(begun(span("FWS", 0, 0), 110));
        requests.issue(&span("R", 80, 8), 115);
        requests.issue_flush(DISK, 120);
        requests.give_up();
        assert_eq!(requests.complete(&span("R", 80, 8), 0), None);
        assert!(!requests.issue(&span("W", 88, 8), 130));
        assert!(requests.complete_flush(DISK).is_empty());
        requests.give_up();
        let began: Vec<u64> = requests.take_given_up().iter().map(|request| request.began).collect();
        assert_eq!(began, [100, 105, 110]);
        assert_eq!(requests.take_unfinished(), []);
    }

    #[test]
    fn one_flush_completes_all_requested_before() {
        let mut requests = requests([begun(span("FWS", 0, 0), 100), begun(span("FWS", 0, 0), 105)]);
        requests.issue_flush(DISK, 110);
        requests.begin(begun(span("FWS", 0, 0), 115));
        assert!(requests.complete_flush(DISK + 1).is_empty());
        let done = requests.complete_flush(DISK);
        assert_eq!(done.iter().map(|done| done.began).collect::<Vec<_>>(), [100, 105]);
        assert_eq!(done[0].issued, Some(110));
        assert_eq!(requests.take_unfinished()[0].began, 115);
    }

    #[test]
    fn number_of_requests_is_bounded_and_each_is_reported() {
        let mut requests = Requests::default();
        let many = 3 * MAX_IN_PROGRESS as u64;
        let mut reported = 0;
        for sector in 0..many {
            let letters = if sector % 2 == 0 { "R" } else { "FF" };
            requests.begin(begun(span(letters, sector, 8), sector));
            assert!(requests.in_progress() <= MAX_IN_PROGRESS);
            reported += requests.take_given_up().len();
        }
        assert_eq!(reported + requests.take_unfinished().len(), many as usize);
    }
}

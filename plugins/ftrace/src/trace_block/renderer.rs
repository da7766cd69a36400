//! The lines of `trace_block`.

use std::path::PathBuf;

use trace_hook_api::{LineBuffer, Origin, Result};
use trace_syscalls::error_name;
use tracefs::ring::Gap;
use tracefs_session::{EventStream, Record, Renderer, with_origin};

use super::devices::Devices;
use super::records::{BlockEvent, Records, Span};
use super::requests::{Owner, Request, Requests};

pub struct BlockRenderer {
    records: Records,
    requests: Requests,
    devices: Devices,
    /// The time of the last record.
    latest: u64,
}

/// The completion of a request.
struct End {
    time: u64,
    /// The CPU that saw it.
    cpu: Option<u32>,
    /// The errno, 0 for success; `None` if the request has not completed.
    error: Option<i64>,
}

impl BlockRenderer {
    pub fn new(stream: &mut EventStream, sysfs: PathBuf) -> Result<Self> {
        Ok(Self {
            records: Records::new(stream)?,
            requests: Requests::default(),
            devices: Devices::new(sysfs),
            latest: 0,
        })
    }

    fn issued(&mut self, span: Span, record: &mut Record<'_>) {
        let now = record.time();
        let is_known = self.requests.issue(&span, now);
        // Some requests are issued at once, without a record of their beginning. The current task has made them.
        if !is_known && !self.records.have_all_beginnings() && record.is_traced(record.task()) {
            self.requests.begin(begun(span.clone(), record));
            self.requests.issue(&span, now);
        }
    }

    fn show(&mut self, request: &Request, end: &End, lines: &mut LineBuffer) {
        let Request { owner, span, began, issued } = request;
        let origin = Origin::at(end.time).cpu(end.cpu).pid(owner.pid).tid(owner.tid).comm(&owner.comm);
        let device = self.devices.get(span.device);
        let operation = &span.operation;
        let flags = (!operation.flags.is_empty()).then(|| operation.flags.join("|"));
        let failure = end.error.filter(|error| *error != 0);
        lines.add_event(&origin, "request", |line| {
            line.word("device", &device.numbers)
                .optional(device.disk.as_deref(), |line, disk| line.word("disk", disk))
                .number("sector", span.sector)
                .number("size", span.size())
                .word("operation", operation.name)
                .optional(flags.as_deref(), |line, flags| line.word("flags", flags))
                .optional(*issued, |line, issued| line.duration("queued", issued.saturating_sub(*began)))
                .optional(issued.filter(|_| end.error.is_some()), |line, issued| {
                    line.duration("duration", end.time.saturating_sub(issued))
                })
                .optional(failure, |line, error| line.word("error", &error_name(error)))
                .optional(end.error.is_none().then_some(true), |line, is_unfinished| {
                    line.flag("unfinished", is_unfinished)
                })
        });
    }

    fn read(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        let now = record.time();
        let end = |error| End { time: now, cpu: Some(record.cpu()), error: Some(error) };
        match self.records.read(record) {
            Some(BlockEvent::Complete(span, error)) => {
                let done = self.requests.complete(&span, error);
                self.show_all(done.as_slice(), &end(error), lines);
            }
            Some(BlockEvent::FlushComplete(device, error)) => {
                let done = self.requests.complete_flush(device);
                self.show_all(&done, &end(error), lines);
            }
            Some(BlockEvent::Begin(span)) => self.requests.begin(begun(span, record)),
            Some(BlockEvent::Issue(span)) => self.issued(span, record),
            Some(BlockEvent::FlushIssue(device)) => self.requests.issue_flush(device, now),
            None => {}
        }
    }

    /// Adds the lines of requests that were given up.
    fn show_given_up(&mut self, lines: &mut LineBuffer) {
        let given_up = self.requests.take_given_up();
        self.show_unfinished(&given_up, lines);
    }

    /// Adds the lines of requests that were not seen to complete.
    fn show_unfinished(&mut self, requests: &[Request], lines: &mut LineBuffer) {
        self.show_all(requests, &End { time: self.latest, cpu: None, error: None }, lines);
    }

    fn show_all(&mut self, requests: &[Request], end: &End, lines: &mut LineBuffer) {
        requests.iter().for_each(|request| self.show(request, end, lines));
    }
}

impl Renderer for BlockRenderer {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        self.latest = record.time();
        self.show_given_up(lines);
        self.read(record, lines);
    }

    fn lost(&mut self, _gap: Gap) {
        self.requests.give_up();
    }

    fn pause(&mut self, lines: &mut LineBuffer) {
        self.show_given_up(lines);
    }

    fn end(&mut self, lines: &mut LineBuffer) {
        let unfinished = self.requests.take_unfinished();
        self.show_unfinished(&unfinished, lines);
    }
}

/// The request that the current task of a record has just made.
fn begun(span: Span, record: &mut Record<'_>) -> Request {
    with_origin(record, record.task(), |_, origin| {
        let owner = Owner { pid: origin.pid, tid: origin.tid, comm: origin.comm.to_vec() };
        Request { owner, span, began: origin.time, issued: None }
    })
}

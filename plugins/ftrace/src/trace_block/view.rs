//! What is shown of the requests.

use std::path::PathBuf;

use trace_hook_api::{LineBuffer, Origin, Result};
use trace_syscalls::error_name;
use tracefs::ring::Gap;
use tracefs_session::{EventStream, Record, Renderer, with_origin};

use super::devices::Devices;
use super::records::{Happened, Records, Span};
use super::requests::{Owner, Request, Requests};

pub struct BlockView {
    records: Records,
    requests: Requests,
    devices: Devices,
    /// The time of the last record.
    latest: u64,
}

/// How a request has ended, and when.
struct End {
    time: u64,
    /// Where that was learnt.
    cpu: Option<u32>,
    /// An errno, 0 for none; none where the request has not ended.
    error: Option<i64>,
}

impl BlockView {
    pub fn new(stream: &mut EventStream, sysfs: PathBuf) -> Result<Self> {
        Ok(Self {
            records: Records::new(stream)?,
            requests: Requests::default(),
            devices: Devices::new(sysfs),
            latest: 0,
        })
    }

    fn issued(&mut self, span: Span, record: &mut Record<'_>) {
        let now = record.stamp();
        let is_known = self.requests.issued(&span, now);
        // Some requests are given to the device at once. So whoever does that has made it.
        if !is_known && !self.records.tell_beginnings() && record.is_traced(record.task()) {
            self.requests.begins(begun(span.clone(), record));
            self.requests.issued(&span, now);
        }
    }

    fn show(&mut self, request: &Request, end: &End, lines: &mut LineBuffer) {
        let Request { owner, span, began, issued } = request;
        let origin = Origin::at(end.time).cpu(end.cpu).pid(owner.pid).tid(owner.tid).comm(&owner.comm);
        let device = self.devices.get(span.device);
        let mut line = lines.event(&origin, "request").word("device", &device.numbers);
        if let Some(disk) = &device.disk {
            line = line.word("disk", disk);
        }
        line = line.number("sector", span.sector).number("size", span.size());
        line = line.word("operation", span.operation.name);
        if !span.operation.flags.is_empty() {
            line = line.word("flags", &span.operation.flags.join("|"));
        }
        if let Some(issued) = issued {
            line = line.duration("queued", issued.saturating_sub(*began));
        }
        if let (Some(issued), Some(_)) = (issued, end.error) {
            line = line.duration("duration", end.time.saturating_sub(*issued));
        }
        match end.error {
            Some(0) => {}
            Some(error) => drop(line.word("error", &error_name(error))),
            None => drop(line.flag("unfinished", true)),
        }
    }

    fn happens(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> u64 {
        let now = record.stamp();
        let end = |error| End { time: now, cpu: Some(record.cpu()), error: Some(error) };
        match self.records.read(record) {
            Some(Happened::Completes(span, error)) => {
                let done = self.requests.completes(&span, error);
                return self.show_all(done.as_slice(), &end(error), lines);
            }
            Some(Happened::FlushCompletes(device, error)) => {
                let done = self.requests.flush_completes(device);
                return self.show_all(&done, &end(error), lines);
            }
            Some(Happened::Begins(span)) => self.requests.begins(begun(span, record)),
            Some(Happened::Issued(span)) => self.issued(span, record),
            Some(Happened::FlushIssued(device)) => self.requests.flush_issued(device, now),
            None => {}
        }
        0
    }

    /// What was under way when records were lost.
    fn show_cut_off(&mut self, lines: &mut LineBuffer) -> u64 {
        let cut_off = self.requests.take_cut_off();
        self.show_unfinished(&cut_off, lines)
    }

    /// Shows the requests whose ends were not seen.
    fn show_unfinished(&mut self, requests: &[Request], lines: &mut LineBuffer) -> u64 {
        self.show_all(requests, &End { time: self.latest, cpu: None, error: None }, lines)
    }

    fn show_all(&mut self, requests: &[Request], end: &End, lines: &mut LineBuffer) -> u64 {
        requests.iter().for_each(|request| self.show(request, end, lines));
        requests.len() as u64
    }
}

impl Renderer for BlockView {
    fn record(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> u64 {
        self.latest = record.stamp();
        self.show_cut_off(lines) + self.happens(record, lines)
    }

    fn lost(&mut self, _gap: Gap) {
        self.requests.lost();
    }

    fn pause(&mut self, lines: &mut LineBuffer) -> u64 {
        self.show_cut_off(lines)
    }

    fn end(&mut self, lines: &mut LineBuffer) -> u64 {
        let unfinished = self.requests.take_unfinished();
        self.show_unfinished(&unfinished, lines)
    }
}

/// A request that the record's task has just made.
fn begun(span: Span, record: &mut Record<'_>) -> Request {
    with_origin(record, record.task(), |_, origin| {
        let owner = Owner { pid: origin.pid, tid: origin.tid, comm: origin.comm.to_vec() };
        Request { owner, span, began: origin.time, issued: None }
    })
}

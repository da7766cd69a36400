//! The records of block requests.

use trace_hook_api::Result;
use tracefs::Instance;
use tracefs::format::Field;
use tracefs_session::{EventStream, Record};

use super::operation::Operation;
use crate::tracepoint::Tracepoint;

/// A task makes a request. Linux 6.5 and later.
const START: Tracepoint = Tracepoint::new("block", "block_io_start");
/// A request is put into a queue, mostly by the task that made it. Not all requests are.
pub const INSERT: Tracepoint = Tracepoint::new("block", "block_rq_insert");
/// A task begins a request. It also reports flushes, which the queue inserts without a record before Linux 6.5.
const GET: Tracepoint = Tracepoint::new("block", "block_getrq");
/// A request is issued to the device.
pub const ISSUE: Tracepoint = Tracepoint::new("block", "block_rq_issue");
/// A request, or a part of it, completes.
pub const COMPLETE: Tracepoint = Tracepoint::new("block", "block_rq_complete");

/// Enables the tracepoints that the owner of a request hits.
pub fn enable_beginnings(instance: &Instance) -> Result<()> {
    if START.is_in(instance.tracefs()) {
        return START.enable(instance);
    }
    if GET.is_in(instance.tracefs()) {
        GET.enable_where("nr_sector == 0", instance)?;
    }
    INSERT.enable(instance)
}

/// The letters of a flush that the queue makes on behalf of all that have requested one (`blk_kick_flush` in
/// `block/blk-flush.c`).
const QUEUES_FLUSH: &[u8] = b"FF";

/// The bytes of a sector in the kernel's interfaces, whatever the device's own sector size.
const SECTOR: u64 = 512;

/// An event of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockEvent {
    Begin(Span),
    Issue(Span),
    /// With its errno, 0 for success.
    Complete(Span, i64),
    /// A flush that the queue has made.
    FlushIssue(u32),
    FlushComplete(u32, i64),
}

/// The sectors and the operation of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub device: u32,
    pub sector: u64,
    pub sectors: u64,
    pub operation: Operation,
}

/// The fields of the records.
pub struct Records {
    begins: Fields,
    /// The beginnings of flushes, if `begins` lacks them.
    flushes: Option<Fields>,
    issued: Fields,
    completes: Fields,
    error: Field,
    /// Whether every request has a record of its beginning.
    has_all_beginnings: bool,
}

struct Fields {
    id: u16,
    device: Field,
    sector: Field,
    sectors: Field,
    letters: Field,
}

impl Records {
    pub fn new(stream: &mut EventStream) -> Result<Self> {
        let start = Fields::new(START, stream);
        let has_all_beginnings = start.is_ok();
        Ok(Self {
            flushes: if has_all_beginnings { None } else { Fields::new(GET, stream).ok() },
            begins: start.or_else(|_| Fields::new(INSERT, stream))?,
            issued: Fields::new(ISSUE, stream)?,
            completes: Fields::new(COMPLETE, stream)?,
            error: COMPLETE.layout(stream)?.field("error")?,
            has_all_beginnings,
        })
    }

    /// Whether every request has a record of its beginning, by the task that made it.
    pub fn have_all_beginnings(&self) -> bool {
        self.has_all_beginnings
    }

    pub fn read(&self, record: &Record<'_>) -> Option<BlockEvent> {
        let id = record.id();
        if id == self.begins.id {
            return Some(BlockEvent::Begin(self.begins.span(record)));
        }
        if let Some(flushes) = self.flushes.as_ref().filter(|flushes| flushes.id == id) {
            return Some(flushes.span(record))
                .filter(|span| span.operation.is_flush())
                .map(BlockEvent::Begin);
        }
        let fields = [&self.issued, &self.completes].into_iter().find(|fields| fields.id == id)?;
        let span = fields.span(record);
        let is_queues_flush = record.text(&fields.letters).starts_with(QUEUES_FLUSH);
        let error = if id == self.completes.id { Some(-record.number(&self.error)) } else { None };
        Some(match (error, is_queues_flush) {
            (None, false) => BlockEvent::Issue(span),
            (None, true) => BlockEvent::FlushIssue(span.device),
            (Some(error), false) => BlockEvent::Complete(span, error),
            (Some(error), true) => BlockEvent::FlushComplete(span.device, error),
        })
    }
}

impl Fields {
    fn new(tracepoint: Tracepoint, stream: &mut EventStream) -> Result<Self> {
        let layout = tracepoint.layout(stream)?;
        Ok(Self {
            id: layout.id(),
            device: layout.field("dev")?,
            sector: layout.field("sector")?,
            sectors: layout.field("nr_sector")?,
            letters: layout.field("rwbs")?,
        })
    }

    fn span(&self, record: &Record<'_>) -> Span {
        let sectors = record.number(&self.sectors) as u64;
        Span {
            device: record.number(&self.device) as u32,
            sector: record.number(&self.sector) as u64,
            sectors,
            operation: Operation::of(record.text(&self.letters), sectors * SECTOR),
        }
    }
}

impl Span {
    /// In bytes.
    pub fn size(&self) -> u64 {
        self.sectors * SECTOR
    }
}

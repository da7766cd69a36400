//! OOM kills, and adjustments of the OOM score.

use trace_hook_api::{LineBuffer, Result};
use trace_tasks::Pid;
use tracefs::Instance;
use tracefs::format::Field;
use tracefs_session::{EventStream, Record, with_origin};

use super::events::Events;
use crate::tracepoint::Tracepoint;

/// Recorded by the task that allocates, not by the one that is killed.
const VICTIM: Tracepoint = Tracepoint::new("oom", "mark_victim");
const ADJUSTED: Tracepoint = Tracepoint::new("oom", "oom_score_adj_update");

/// The tracepoints that the traced tasks hit themselves.
pub const TRACEPOINTS: [Tracepoint; 1] = [ADJUSTED];

/// The bytes of the unit of the sizes in these records.
const KIB: i64 = 1024;

pub struct Oom {
    victim: Option<Victim>,
    adjusted: Option<Adjusted>,
}

struct Victim {
    id: u16,
    pid: Field,
    /// Linux 6.9 and later, like the sizes.
    comm: Option<Field>,
    sizes: Vec<(&'static str, Field)>,
}

struct Adjusted {
    id: u16,
    pid: Field,
    comm: Field,
    score: Field,
}

/// Enables the event of OOM kills, whatever task runs: the victim need not be the task that allocates.
pub fn enable_system_wide(instance: &Instance) -> Result<()> {
    match VICTIM.is_in(instance.tracefs()) {
        true => VICTIM.enable(instance),
        false => Ok(()),
    }
}

impl Oom {
    pub fn new(stream: &mut EventStream) -> Self {
        Self { victim: Victim::new(stream), adjusted: Adjusted::new(stream) }
    }
}

impl Events for Oom {
    fn show(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> Option<()> {
        let id = record.id();
        if let Some(victim) = self.victim.as_ref().filter(|victim| victim.id == id) {
            victim.show(record, lines);
            return Some(());
        }
        let adjusted = self.adjusted.as_ref().filter(|adjusted| adjusted.id == id)?;
        with_origin(record, record.task(), |record, origin| {
            lines.add_event(origin, "oom_score_adj", |line| {
                line.number("of_tid", record.number(&adjusted.pid))
                    .text("of_comm", record.text(&adjusted.comm))
                    .number("score", record.number(&adjusted.score))
            });
        });
        Some(())
    }
}

impl Victim {
    fn new(stream: &mut EventStream) -> Option<Self> {
        let layout = VICTIM.layout(stream).ok()?;
        let sizes = [
            ("virtual", "total_vm"),
            ("anon", "anon_rss"),
            ("file", "file_rss"),
            ("shmem", "shmem_rss"),
            ("page_tables", "pgtables"),
        ];
        let sizes = sizes.into_iter().filter_map(|(name, field)| Some((name, layout.newer_field(field)?)));
        Some(Self {
            id: layout.id(),
            pid: layout.newer_field("pid")?,
            comm: layout.newer_field("comm"),
            sizes: sizes.collect(),
        })
    }

    /// Adds a line if the victim or the allocating task is traced.
    fn show(&self, record: &mut Record<'_>, lines: &mut LineBuffer) {
        let victim = record.number(&self.pid) as Pid;
        if !record.is_traced(victim) && !record.is_traced(record.task()) {
            return;
        }
        with_origin(record, record.task(), |record, origin| {
            lines.add_event(origin, "oom_kill", |line| {
                let line = line.number("victim_tid", victim);
                let line = line
                    .optional(self.comm.as_ref(), |line, comm| line.text("victim_comm", record.text(comm)));
                self.sizes.iter().fold(line, |line, (name, size)| {
                    line.number(name, record.number(size).saturating_mul(KIB))
                })
            });
        });
    }
}

impl Adjusted {
    fn new(stream: &mut EventStream) -> Option<Self> {
        let layout = ADJUSTED.layout(stream).ok()?;
        Some(Self {
            id: layout.id(),
            pid: layout.newer_field("pid")?,
            comm: layout.newer_field("comm")?,
            score: layout.newer_field("oom_score_adj")?,
        })
    }
}

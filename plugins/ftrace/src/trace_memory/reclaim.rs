//! Direct reclaim: a task frees memory itself before its allocation succeeds.

use std::collections::HashMap;

use trace_hook_api::LineBuffer;
use trace_tasks::Pid;
use tracefs::format::Field;
use tracefs_session::{EventStream, Record, with_origin};

use super::events::Events;
use super::pages::page_size;
use crate::tracepoint::Tracepoint;

const DIRECT: [Tracepoint; 2] = pair("mm_vmscan_direct_reclaim_begin", "mm_vmscan_direct_reclaim_end");
const CGROUP: [Tracepoint; 2] = pair("mm_vmscan_memcg_reclaim_begin", "mm_vmscan_memcg_reclaim_end");
const NODE: [Tracepoint; 2] = pair("mm_vmscan_node_reclaim_begin", "mm_vmscan_node_reclaim_end");
const THROTTLED: Tracepoint = Tracepoint::new("vmscan", "mm_vmscan_throttled");
const WAKEUP: Tracepoint = Tracepoint::new("vmscan", "mm_vmscan_wakeup_kswapd");

pub const TRACEPOINTS: [Tracepoint; 8] =
    [DIRECT[0], DIRECT[1], CGROUP[0], CGROUP[1], NODE[0], NODE[1], THROTTLED, WAKEUP];

const fn pair(begin: &'static str, end: &'static str) -> [Tracepoint; 2] {
    [Tracepoint::new("vmscan", begin), Tracepoint::new("vmscan", end)]
}

/// The events that this kernel has.
pub struct Reclaim {
    pairs: Vec<Pair>,
    throttled: Option<(u16, Field)>,
    wakeup: Option<(u16, Field, Field)>,
    /// When each task began to reclaim, and the order of the block it needs. Bounded by the number of living tasks: in the
    /// kernel, a task that began cannot end before the end of it is recorded.
    begun: HashMap<Pid, (u64, i64)>,
}

/// The events of the beginning and the end, for one cause.
struct Pair {
    cause: &'static str,
    begin: u16,
    order: Field,
    end: u16,
    reclaimed: Field,
}

impl Reclaim {
    pub fn new(stream: &mut EventStream) -> Self {
        let causes = [("direct", DIRECT), ("cgroup", CGROUP), ("node", NODE)];
        let pairs =
            causes.into_iter().filter_map(|(cause, tracepoints)| Pair::new(cause, tracepoints, stream));
        Self {
            pairs: pairs.collect(),
            throttled: throttled(stream),
            wakeup: wakeup(stream),
            begun: HashMap::new(),
        }
    }

    /// Whether the record is of a beginning, which has no line.
    fn begins(&mut self, record: &Record<'_>) -> bool {
        let Some(pair) = self.pairs.iter().find(|pair| pair.begin == record.id()) else { return false };
        self.begun.insert(record.task(), (record.time(), record.number(&pair.order)));
        true
    }
}

impl Events for Reclaim {
    fn show(&mut self, record: &mut Record<'_>, lines: &mut LineBuffer) -> Option<()> {
        if self.begins(record) {
            return Some(());
        }
        let id = record.id();
        if let Some(pair) = self.pairs.iter().find(|pair| pair.end == id) {
            let begun = self.begun.remove(&record.task());
            with_origin(record, record.task(), |record, origin| {
                let reclaimed = (record.number(&pair.reclaimed) as u64).saturating_mul(page_size());
                lines.add_event(origin, "reclaim", |line| {
                    let line = line.word("cause", pair.cause).number("size", reclaimed);
                    line.optional(begun, |line, (at, order)| {
                        line.number("order", order).duration("duration", origin.time.saturating_sub(at))
                    })
                });
            });
        } else if let Some((_, delayed)) = self.throttled.as_ref().filter(|(throttled, _)| *throttled == id) {
            with_origin(record, record.task(), |record, origin| {
                let micros = u64::try_from(record.number(delayed)).unwrap_or(0);
                let duration = micros.saturating_mul(1000);
                lines.add_event(origin, "reclaim_throttled", |line| line.duration("duration", duration));
            });
        } else if let Some((_, node, order)) = self.wakeup.as_ref().filter(|(wakeup, ..)| *wakeup == id) {
            with_origin(record, record.task(), |record, origin| {
                lines.add_event(origin, "wakeup_kswapd", |line| {
                    line.number("node", record.number(node)).number("order", record.number(order))
                });
            });
        } else {
            return None;
        }
        Some(())
    }

    fn lost(&mut self) {
        self.begun.clear();
    }
}

impl Pair {
    fn new(cause: &'static str, [begin, end]: [Tracepoint; 2], stream: &mut EventStream) -> Option<Self> {
        let (begin, end) = (begin.layout(stream).ok()?, end.layout(stream).ok()?);
        let (order, reclaimed) = (begin.newer_field("order")?, end.newer_field("nr_reclaimed")?);
        Some(Self { cause, begin: begin.id(), order, end: end.id(), reclaimed })
    }
}

fn throttled(stream: &mut EventStream) -> Option<(u16, Field)> {
    let layout = THROTTLED.layout(stream).ok()?;
    Some((layout.id(), layout.newer_field("usec_delayed")?))
}

fn wakeup(stream: &mut EventStream) -> Option<(u16, Field, Field)> {
    let layout = WAKEUP.layout(stream).ok()?;
    Some((layout.id(), layout.newer_field("nid")?, layout.newer_field("order")?))
}

//! What was noticed, for the log and the summary.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use trace_hook_api::log;

use super::wall_clock::time_of_day;

/// The kinds of changes that were noticed. Each is logged once.
#[derive(Debug, Clone, Default)]
pub struct Notices(Arc<Mutex<Vec<Notice>>>);

#[derive(Debug)]
struct Notice {
    kind: &'static str,
    text: String,
    times: usize,
    last: SystemTime,
    /// The events that the other process has taken.
    taken: u64,
}

impl Notices {
    /// Another process has done this since the time given, which is that of the last look.
    pub fn note(&self, kind: &'static str, since: SystemTime, what: &str) {
        self.add(kind, since, what, 0);
    }

    /// The same, and it has taken so many events.
    pub fn note_taken(&self, kind: &'static str, since: SystemTime, what: &str, events: u64) {
        self.add(kind, since, what, events);
    }

    /// A sentence for each kind.
    pub fn warnings(&self) -> Vec<String> {
        let notices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notices.iter().map(Notice::warning).collect()
    }

    fn add(&self, kind: &'static str, since: SystemTime, what: &str, taken: u64) {
        let now = SystemTime::now();
        let mut notices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notice) = notices.iter_mut().find(|notice| notice.kind == kind) {
            notice.times += 1;
            notice.last = now;
            notice.taken += taken;
            return;
        }
        let (since, until) = (time_of_day(since), time_of_day(now));
        let text = format!("between {since} and {until} UTC another process {what}");
        let notice = Notice { kind, text, times: 1, last: now, taken };
        log::warn!("{}", notice.warning());
        notices.push(notice);
    }
}

impl Notice {
    fn warning(&self) -> String {
        let mut text = self.text.clone();
        if self.taken > 0 {
            text += &format!("; {} events that it took are lost", self.taken);
        }
        if self.times > 1 {
            text += &format!("; noticed {} times, last at {}", self.times, time_of_day(self.last));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn each_kind_is_one_warning() {
        let notices = Notices::default();
        assert_eq!(notices.warnings(), Vec::<String>::new());
        notices.note("a", UNIX_EPOCH, "did this");
        notices.note_taken("b", UNIX_EPOCH, "did that", 7);
        notices.note_taken("b", UNIX_EPOCH, "did that", 2);
        let warnings = notices.warnings();
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].starts_with("between 00:00:00.000 and ") && warnings[0].ends_with(" did this"));
        assert!(warnings[1].contains("did that; 9 events that it took are lost; noticed 2 times, last at "));
    }
}

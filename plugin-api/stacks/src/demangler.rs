//! Limits the time for demangling: a file can have names that are made to be slow, and a process can have any addresses in its stacks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::time::ClockId;
use trace_symbols::{cut, display_name, time_of_deep_symbols};

/// The CPU time for the names of one file, and of all files. Most names take some microseconds, and are cached.
const MAX_OF_FILE: Duration = Duration::from_millis(250);
const MAX_OF_ALL: Duration = Duration::from_secs(2);
/// The parts of the time of a session that are added to it.
const PART_OF_FILE: u32 = 100;
const PART_OF_ALL: u32 = 20;

/// The CPU time that the names of a file have taken, in nanoseconds.
#[derive(Debug, Default)]
pub struct DemanglingTime(AtomicU64);

/// Demangles names.
#[derive(Debug)]
pub struct Demangler {
    began: Instant,
    /// The CPU time that all names have taken.
    spent: Duration,
}

impl Default for Demangler {
    fn default() -> Self {
        Self { began: Instant::now(), spent: Duration::ZERO }
    }
}

impl Demangler {
    /// The name of a function to show, of `max_chars` characters at most. It is the symbol if those of the file, or of all files, have
    /// taken too long.
    pub fn display_name(&mut self, symbol: &str, of_file: &DemanglingTime, max_chars: usize) -> String {
        let elapsed = self.began.elapsed();
        let is_over = self.spent >= MAX_OF_ALL + elapsed / PART_OF_ALL
            || of_file.spent() >= MAX_OF_FILE + elapsed / PART_OF_FILE;
        if is_over {
            return cut(symbol, max_chars);
        }
        let began = cpu_time();
        let name = display_name(symbol, max_chars);
        let took = cpu_time().saturating_sub(began);
        self.spent += took;
        of_file.add(took);
        name
    }
}

impl DemanglingTime {
    fn spent(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn add(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }
}

/// That of this thread, and of the one that it waits for.
fn cpu_time() -> Duration {
    // The clock exists in every kernel.
    let own = ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from).unwrap_or_default();
    own + time_of_deep_symbols()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYMBOL: &str = "_ZN9container6insertEi";
    const NAME: &str = "container::insert(int)";

    #[test]
    fn a_file_whose_names_have_taken_too_long_has_no_more() {
        let (mut demangler, file) = (Demangler::default(), DemanglingTime::default());
        assert_eq!(demangler.display_name(SYMBOL, &file, 512), NAME);
        file.add(2 * MAX_OF_FILE);
        assert_eq!(demangler.display_name(SYMBOL, &file, 512), SYMBOL);
        assert_eq!(demangler.display_name(SYMBOL, &DemanglingTime::default(), 512), NAME);
        demangler.began =
            demangler.began.checked_sub(PART_OF_FILE * 2 * MAX_OF_FILE).expect("it runs long enough");
        assert_eq!(demangler.display_name(SYMBOL, &file, 512), NAME, "there is more time in a long session");
    }

    #[test]
    fn after_the_time_for_all_files_there_are_no_more_names() {
        let mut demangler = Demangler { spent: 2 * MAX_OF_ALL, ..Demangler::default() };
        assert_eq!(demangler.display_name(SYMBOL, &DemanglingTime::default(), 512), SYMBOL);
    }

    #[test]
    fn slow_names_of_both_kinds_are_added_up() {
        for (code, depth) in [("XdlsP", 3), ("na", 6), ("XdlsP", 9)] {
            let (mut demangler, file) = (Demangler::default(), DemanglingTime::default());
            let symbol = |number| format!("_Z1fIX{}{}{number}f", code.repeat(depth), "1f".repeat(36));
            let began = Instant::now();
            let mut number = 0;
            while file.spent() < MAX_OF_FILE && began.elapsed() < Duration::from_secs(60) {
                demangler.display_name(&symbol(number), &file, 512);
                number += 1;
            }
            assert!(demangler.spent >= MAX_OF_FILE, "{code}: {:?} after {number} names", demangler.spent);
        }
    }
}

//! Limits the time for names that are slow to demangle: in a real program each takes some microseconds, but a file can be made to be
//! slow, and a process can have any addresses in its stacks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::time::ClockId;
use trace_symbols::{cut, display_name};

/// A name that takes longer is slow.
const SLOW: Duration = Duration::from_micros(500);
/// The CPU time for slow names of one file.
const MAX_OF_FILE: Duration = Duration::from_millis(50);
/// The CPU time for slow names of all files. After it, each file has one more.
const MAX_OF_ALL: Duration = Duration::from_secs(1);

/// The CPU time that slow names of a file have taken, in nanoseconds.
#[derive(Debug, Default)]
pub struct SlowNames(AtomicU64);

/// Demangles names.
#[derive(Debug, Default)]
pub struct Demangler {
    /// The CPU time that slow names have taken.
    spent: Duration,
}

impl Demangler {
    /// The name of a function to show, of `max_chars` characters at most. It is the symbol if the file has slow names, and these have taken
    /// too long.
    pub fn display_name(&mut self, symbol: &str, of_file: &SlowNames, max_chars: usize) -> String {
        let allowed = if self.spent < MAX_OF_ALL { MAX_OF_FILE } else { Duration::from_nanos(1) };
        if of_file.spent() >= allowed {
            return cut(symbol, max_chars);
        }
        let began = cpu_time();
        let name = display_name(symbol, max_chars);
        let took = cpu_time().saturating_sub(began);
        if took > SLOW {
            self.spent += took;
            of_file.add(took);
        }
        name
    }
}

impl SlowNames {
    fn spent(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn add(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }
}

fn cpu_time() -> Duration {
    // The clock exists in every kernel.
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYMBOL: &str = "_ZN9container6insertEi";

    #[test]
    fn a_file_whose_slow_names_have_taken_too_long_has_no_names() {
        let (mut demangler, file) = (Demangler::default(), SlowNames::default());
        assert_eq!(demangler.display_name(SYMBOL, &file, 512), "container::insert(int)");
        file.add(MAX_OF_FILE);
        assert_eq!(demangler.display_name(SYMBOL, &file, 512), SYMBOL);
        assert_eq!(demangler.display_name(SYMBOL, &SlowNames::default(), 512), "container::insert(int)");
    }

    #[test]
    fn after_the_time_for_all_files_those_with_a_slow_name_have_no_more() {
        let (mut demangler, file) = (Demangler { spent: MAX_OF_ALL }, SlowNames::default());
        assert_eq!(demangler.display_name(SYMBOL, &file, 512), "container::insert(int)");
        file.add(SLOW);
        assert_eq!(demangler.display_name(SYMBOL, &file, 512), SYMBOL);
    }

    #[test]
    fn slow_names_are_added_up() {
        let (mut demangler, file) = (Demangler::default(), SlowNames::default());
        for number in 0..10_000 {
            let slow = format!("_Z1fI{}{}{number}f", "XdlsP".repeat(9), "1f".repeat(36));
            demangler.display_name(&slow, &file, 512);
        }
        assert!(demangler.spent >= MAX_OF_FILE && demangler.spent < MAX_OF_ALL, "{:?}", demangler.spent);
    }
}

//! The functions of the kernel by address.

mod functions;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use functions::Functions;
pub use functions::KernelFunction;

/// How long after one reading of the list the next one begins at the earliest.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// The same as a multiple of the time that one takes.
const SHARE: u32 = 10;

/// After so many readings in a row without a change, the next ones come later and later, and are not waited for: some code has no
/// name ever, such as the filters of seccomp(2).
const MOST_FRUITLESS: u32 = 3;
/// How often the interval is doubled then.
const DOUBLINGS: u32 = 4;

/// What has no name so soon after a reading is not waited for, so that waiting takes only a part of the time.
const FRESH: Duration = Duration::from_millis(200);

/// For how many addresses it is noted when they were first looked up.
const MAX_NOTED: usize = 10_000;

/// The functions of the kernel, as `/proc/kallsyms` lists them.
///
/// They are read in a thread, because that takes a while. They are read again after an address was looked up that has no name or
/// belongs to a BPF program: modules and programs come and go.
///
/// The default has none.
#[derive(Debug)]
pub struct KernelSymbols {
    procfs: PathBuf,
    reading: Option<Receiver<Reading>>,
    functions: Arc<Functions>,
    /// When they are read again at the earliest.
    next: Instant,
    /// When they were read again.
    read_at: Option<Instant>,
    /// How often in a row nothing had changed.
    fruitless: u32,
    have_changed: bool,
    /// How often they were read.
    readings: u32,
    /// The addresses that are not of the kernel's image, and how often they had been read when these were first looked up.
    noted: HashMap<u64, u32>,
}

impl Default for KernelSymbols {
    fn default() -> Self {
        Self {
            procfs: PathBuf::new(),
            reading: None,
            functions: Arc::default(),
            next: Instant::now(),
            read_at: None,
            fruitless: 0,
            have_changed: false,
            readings: 0,
            noted: HashMap::new(),
        }
    }
}

/// What was read, and how long that took.
#[derive(Debug, Default)]
struct Reading {
    functions: Arc<Functions>,
    duration: Duration,
}

impl KernelSymbols {
    /// Starts to read them from this procfs.
    pub fn read(procfs: &Path) -> Self {
        let mut symbols = Self { procfs: procfs.to_owned(), ..Self::default() };
        symbols.start_reading();
        symbols
    }

    /// The function at this address. Waits until all of them are read for the first time.
    pub fn function(&mut self, address: u64) -> Option<KernelFunction<'_>> {
        if let Some(reading) = self.reading.take_if(|_| self.readings == 0) {
            self.take(reading.recv().unwrap_or_default());
        }
        self.functions.at(address)
    }

    /// Whether the function at this address will be another one, or will be known, once they are read again. Sees to that.
    pub fn may_change(&mut self, address: u64) -> bool {
        let is_certain = self.function(address).is_some_and(|function| !function.is_bpf());
        if is_certain || self.functions.is_empty() {
            return false;
        }
        if self.noted.len() >= MAX_NOTED {
            self.noted.clear();
        }
        let may_change = *self.noted.entry(address).or_insert(self.readings) == self.readings;
        if may_change && self.reading.is_none() {
            self.start_reading();
        }
        may_change
    }

    /// If they are to be read again, waits for the end of that for this long at most. Returns false if it is not worthwhile.
    pub fn wait_for_update(&mut self, limit: Duration) -> bool {
        let is_fresh = self.read_at.is_some_and(|read_at| read_at.elapsed() < FRESH);
        !is_fresh && self.fruitless < MOST_FRUITLESS && self.receive(limit)
    }

    fn receive(&mut self, limit: Duration) -> bool {
        let read = self.reading.as_ref().map(|reading| reading.recv_timeout(limit));
        match read {
            Some(Ok(read)) => self.take(read),
            Some(Err(RecvTimeoutError::Disconnected)) => self.reading = None,
            Some(Err(RecvTimeoutError::Timeout)) => {}
            None => return false,
        }
        true
    }

    /// Whether functions are others since this was last called.
    pub fn update(&mut self) -> bool {
        if self.readings > 0 {
            self.receive(Duration::ZERO);
        }
        std::mem::take(&mut self.have_changed)
    }

    fn start_reading(&mut self) {
        let (procfs, before) = (self.procfs.clone(), Arc::clone(&self.functions));
        let (read, reading) = sync_channel(1);
        let (is_first, rest) = (self.readings == 0, self.next.saturating_duration_since(Instant::now()));
        let started = Builder::new().name("kallsyms".to_owned()).spawn(move || {
            std::thread::sleep(rest);
            let began = Instant::now();
            let functions = Arc::new(Functions::read(&procfs, &before));
            if is_first && functions.is_empty() {
                log::warn!(
                    "functions of the kernel are not named: {} hides their addresses or cannot be read; \
                     that takes CAP_SYSLOG, and kernel.kptr_restrict below 2",
                    procfs.join("kallsyms").display()
                );
            }
            read.send(Reading { functions, duration: began.elapsed() })
        });
        self.reading = started.is_ok().then_some(reading);
    }

    fn take(&mut self, read: Reading) {
        let is_first = self.readings == 0;
        let has_changed = !is_first && read.functions != self.functions;
        (self.functions, self.reading) = (read.functions, None);
        self.readings += 1;
        self.have_changed |= has_changed;
        // Tracers load BPF programs when a session starts, so the second reading comes soon.
        if !is_first {
            self.fruitless = if has_changed { 0 } else { self.fruitless.saturating_add(1) };
            let doublings = self.fruitless.saturating_sub(MOST_FRUITLESS).min(DOUBLINGS);
            let rest = (SHORTEST_INTERVAL * (1 << doublings)).max(read.duration.saturating_mul(SHARE));
            self.read_at = Some(Instant::now());
            self.next = Instant::now() + rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks up an address until it does not change any more. Returns its name, and whether it changed.
    fn settled(symbols: &mut KernelSymbols, address: u64) -> (Option<String>, bool) {
        let (deadline, mut is_changed) = (Instant::now() + Duration::from_secs(60), false);
        while symbols.may_change(address) {
            assert!(Instant::now() < deadline, "it is read again");
            symbols.receive(Duration::from_millis(1));
            is_changed |= symbols.update();
        }
        (symbols.function(address).map(|function| function.name.to_owned()), is_changed)
    }

    #[test]
    fn what_has_no_name_is_looked_for_again() {
        let procfs = tempfile::tempdir().unwrap();
        let write = |list: &str| std::fs::write(procfs.path().join("kallsyms"), list).unwrap();
        let image = "1000 T _stext\n1000 T first\n2000 T _etext\n";
        write(image);
        let mut symbols = KernelSymbols::read(procfs.path());
        assert_eq!(symbols.function(0x1000).unwrap().name, "first");
        assert!(!symbols.may_change(0x1000) && symbols.function(0x9000).is_none());
        write(&format!("{image}9000 t bpf_prog_1_a\t[bpf]\n"));
        assert_eq!(settled(&mut symbols, 0x9000), (Some("bpf_prog_1_a".to_owned()), true));
        write(&format!("{image}9000 t bpf_prog_1_a\t[bpf]\n9100 t bpf_prog_2_b\t[bpf]\n"));
        assert_eq!(settled(&mut symbols, 0x9100), (Some("bpf_prog_2_b".to_owned()), true));
        assert_eq!(settled(&mut symbols, 0x9100), (Some("bpf_prog_2_b".to_owned()), false));
        assert_eq!(settled(&mut symbols, 0x8000), (None, false));
        assert!(!symbols.may_change(0x8000), "it was looked for");
        symbols.read_at = None;
        assert!(symbols.may_change(0x7000) && symbols.wait_for_update(Duration::ZERO));
        symbols.fruitless = MOST_FRUITLESS;
        assert!(symbols.may_change(0x7000) && !symbols.wait_for_update(Duration::ZERO));
    }

    #[test]
    fn hidden_addresses_are_not_looked_for_again() {
        let procfs = tempfile::tempdir().unwrap();
        std::fs::write(procfs.path().join("kallsyms"), "0 T _stext\n").unwrap();
        let mut symbols = KernelSymbols::read(procfs.path());
        assert!(symbols.function(0x1000).is_none() && !symbols.may_change(0x1000));
        assert!(!KernelSymbols::default().may_change(0x1000));
    }
}

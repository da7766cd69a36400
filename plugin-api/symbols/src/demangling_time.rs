//! Limits the time for demangling C++ symbols. In expressions, the parser can take twice as long with each level of nesting: a symbol of
//! 100 bytes can take hours. It cannot be interrupted.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cpp_demangle::error::Error;
use cpp_demangle::{BorrowedSymbol, ParseOptions, Symbol};
use trace_tasks::BlockingCalls;

use crate::demangle::is_cpp;

/// How deep the parts of a C++ symbol may be nested, as the parser counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Every symbol takes less than a millisecond. One in five of a system's libraries is nested deeper.
    Shallow,
    /// Every symbol takes some ten milliseconds at most. One in ten is nested deeper.
    Moderate,
    /// The limit of the parser, with which some symbols take hours.
    Deep,
}

impl Depth {
    fn limit(self) -> u32 {
        match self {
            Self::Shallow => 20,
            Self::Moderate => 24,
            Self::Deep => 96,
        }
    }
}

/// The CPU time for a symbol that is nested deep. Most take some microseconds.
const DEEP_TIME: Duration = Duration::from_millis(20);

/// How many symbols may take longer. The thread of each cannot be ended, and continues at the lowest priority.
const MAX_RUNAWAYS: u32 = 2;

/// How many have taken longer.
static RUNAWAYS: AtomicU32 = AtomicU32::new(0);

/// How long all deep symbols together have taken, in nanoseconds.
static SPENT: AtomicU64 = AtomicU64::new(0);

/// The CPU time that symbols have taken so far in a thread of their own, which those do that are nested deep.
pub fn time_of_deep_symbols() -> Duration {
    Duration::from_nanos(SPENT.load(Ordering::Relaxed))
}

/// Demangles symbols that are nested deep.
static DEEP: Mutex<Option<BlockingCalls>> = Mutex::new(None);

/// Parses a C++ symbol.
///
/// # Errors
///
/// It is not one, or is nested deeper.
pub(crate) fn parse_cpp(symbol: &str, depth: Depth) -> Result<BorrowedSymbol<'_>, Error> {
    let options = ParseOptions::default().recursion_limit(depth.limit());
    Symbol::new_with_options(symbol.as_bytes(), &options)
}

/// Demangles a symbol at the depth that it needs, or, if others have taken too long, at a moderate one. `None`, if it takes too long.
pub(crate) fn within_limits<T: Send + 'static>(
    symbol: &str,
    demangle: impl FnOnce(&str, Depth) -> T + Send + 'static,
) -> Option<T> {
    let is_deep = is_cpp(symbol) && matches!(parse_cpp(symbol, Depth::Shallow), Err(Error::TooMuchRecursion));
    if !is_deep {
        return Some(demangle(symbol, Depth::Shallow));
    }
    if RUNAWAYS.load(Ordering::Relaxed) >= MAX_RUNAWAYS {
        return Some(demangle(symbol, Depth::Moderate));
    }
    let symbol = symbol.to_owned();
    let mut calls = DEEP.lock().unwrap_or_else(PoisonError::into_inner);
    // Its own limit counts time in which it does not run, and it never waits.
    let calls =
        calls.get_or_insert_with(|| BlockingCalls::within(Duration::from_secs(1)).running_at_most(DEEP_TIME));
    let answer = calls.call(&[], move || demangle(&symbol, Depth::Deep)).ok();
    SPENT.store(calls.spent().as_nanos() as u64, Ordering::Relaxed);
    if answer.is_none() {
        calls.begin_again();
        RUNAWAYS.fetch_add(1, Ordering::Relaxed);
    }
    answer
}

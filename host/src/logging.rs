//! The log, for `-v`. The supervisor writes it to standard error; a worker sends it to the supervisor.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::output;

/// Sends the log records of a worker to its supervisor.
type Forward = Box<dyn Fn(&Record<'_>) + Send + Sync>;

/// How many warnings of a worker are remembered.
const MOST_WARNINGS: usize = 1000;

static LOGGER: Logger = Logger { forward: RwLock::new(None), forwarded: Mutex::new(BTreeSet::new()) };

struct Logger {
    forward: RwLock<Option<Forward>>,
    /// The warnings among the forwarded records, each as one line.
    forwarded: Mutex<BTreeSet<String>>,
}

/// Starts the log. Errors are returned, not logged. Without `-v` only warnings are logged, and only if the trace is printed.
pub fn start(verbosity: u8, prints_trace: bool) {
    let level = match verbosity {
        0 if prints_trace => LevelFilter::Warn,
        0 => LevelFilter::Off,
        1 => LevelFilter::Info,
        2 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(level);
    }
}

/// In a worker: passes all records to this function from now on.
pub fn forward(forward: impl Fn(&Record<'_>) + Send + Sync + 'static) {
    *LOGGER.forward.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(forward));
}

/// In a worker: whether this line was logged as a warning.
pub fn has_warned(line: &str) -> bool {
    LOGGER.forwarded.lock().unwrap_or_else(PoisonError::into_inner).contains(line)
}

impl Logger {
    fn remember(&self, record: &Record<'_>) {
        if record.level() != Level::Warn {
            return;
        }
        let mut forwarded = self.forwarded.lock().unwrap_or_else(PoisonError::into_inner);
        if forwarded.len() < MOST_WARNINGS {
            forwarded.insert(output::one_line(&record.args().to_string()));
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        match &*self.forward.read().unwrap_or_else(PoisonError::into_inner) {
            Some(forward) => {
                self.remember(record);
                forward(record);
            }
            None => write(record),
        }
    }

    fn flush(&self) {}
}

fn write(record: &Record<'_>) {
    output::clear_status();
    static STDERR: OnceLock<env_logger::Logger> = OnceLock::new();
    STDERR.get_or_init(stderr).log(record);
}

fn stderr() -> env_logger::Logger {
    env_logger::Builder::new()
        .filter_level(LevelFilter::Trace)
        .format(|line, record| {
            let level = record.level().as_str().to_ascii_lowercase();
            // In a warning of this executable, the module is of no use to a person.
            let is_own =
                record.level() == Level::Warn && record.target().starts_with(env!("CARGO_CRATE_NAME"));
            let message = match is_own {
                true => record.args().to_string(),
                false => format!("{}: {}", record.target(), record.args()),
            };
            let message = output::one_line(&message);
            writeln!(line, "{}: {level}: {message}", output::program_name())
        })
        .build()
}

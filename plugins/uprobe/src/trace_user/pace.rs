//! How long files may take that are searched.

use std::collections::HashMap;
use std::time::Duration;

use trace_hook_api::Environment;
use trace_tasks::Pid;

use super::candidate::Candidate;

/// How long all files are searched: files that take long must not hold up a session. Usually, each takes a few milliseconds at most.
const WHOLE_TIME: Duration = Duration::from_secs(5);

/// What happens to files that take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// They are postponed: the session begins without them.
    Prompt,
    /// They are searched, and left out if they take longer than is bearable.
    Thorough,
}

impl Pace {
    /// How long a call that opens or reads a file may block.
    pub fn blocking_time(self) -> Duration {
        match self {
            Self::Prompt => Duration::from_millis(25),
            Self::Thorough => Duration::from_millis(500),
        }
    }

    /// The CPU time that the search of one file may take.
    fn file_time(self) -> Duration {
        match self {
            Self::Prompt => Duration::from_millis(50),
            Self::Thorough => Duration::from_secs(2),
        }
    }

    /// The part of it for names that are slow to demangle: those of real files take some microseconds each.
    pub fn slow_names_time(self) -> Duration {
        match self {
            Self::Prompt => Duration::from_millis(10),
            Self::Thorough => Duration::from_millis(500),
        }
    }

    /// How long the files of one process are searched. The last one may take longer.
    fn process_time(self) -> Duration {
        match self {
            Self::Prompt => Duration::from_millis(200),
            Self::Thorough => Duration::from_millis(500),
        }
    }

    /// How long the lists of mappings are read of processes that have many, though not unusually many.
    pub fn usual_lists_time(self) -> Duration {
        match self {
            Self::Prompt => Duration::from_millis(30),
            Self::Thorough => Duration::MAX,
        }
    }

    /// How long lists of mappings are read that are longer than usual, and how long the files are searched that are only in these.
    pub fn long_lists_time(self) -> Duration {
        match self {
            Self::Prompt => Duration::from_millis(12),
            Self::Thorough => Duration::from_millis(150),
        }
    }
}

/// How long files were searched.
#[derive(Debug)]
pub struct SearchTimes {
    pace: Pace,
    whole: Duration,
    of_long_lists: Duration,
    of_processes: HashMap<Pid, Duration>,
}

impl SearchTimes {
    pub fn new(pace: Pace) -> Self {
        Self { pace, whole: Duration::ZERO, of_long_lists: Duration::ZERO, of_processes: HashMap::new() }
    }

    /// Why a file is not searched.
    pub fn reason_to_leave_out(
        &self,
        file: Candidate<'_>,
        environment: &Environment,
    ) -> Option<&'static str> {
        let is_too_long = |spent: Duration, limit| spent >= environment.patient(limit);
        let has_taken_too_long = |process: &Pid| {
            let limit = self.pace.process_time();
            self.of_processes.get(process).is_some_and(|spent| is_too_long(*spent, limit))
        };
        if is_too_long(self.whole, WHOLE_TIME) {
            Some("searching all files takes too long")
        } else if file.is_of_long_list() && is_too_long(self.of_long_lists, self.pace.long_lists_time()) {
            Some("its process has too many files")
        } else if file.all_processes().is_some_and(|all| all.iter().all(has_taken_too_long)) {
            Some("searching the files of its process takes too long")
        } else {
            None
        }
    }

    /// The CPU time that the search of a file may take.
    pub fn time_for(&self, file: Candidate<'_>, environment: &Environment) -> Duration {
        match file.is_of_long_list() {
            true => environment.patient(self.pace.long_lists_time()).saturating_sub(self.of_long_lists),
            false => environment.patient(self.pace.file_time()),
        }
    }

    /// Adds the time for one file.
    pub fn add(&mut self, file: Candidate<'_>, time: Duration) {
        self.whole += time;
        for process in file.processes() {
            *self.of_processes.entry(process).or_default() += time;
        }
        if file.is_of_long_list() {
            self.of_long_lists += time;
        }
    }
}

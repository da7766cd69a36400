use perf_event_open_sys::bindings::{self as sys, perf_event_attr};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An event of the kernel itself (`PERF_COUNT_SW_…`).
    Software(u32),
    /// An event of the processor (`PERF_COUNT_HW_…`). Virtual machines often have none.
    Hardware(u32),
}

/// Which of the tasks that a task starts inherit its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inherit {
    /// All of them.
    AllTasks,
    /// Only the threads of the same process. Since Linux 5.13.
    Threads,
}

/// Which frames of a stack are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    /// The kernel's and the program's.
    All,
    /// The program's, also in samples that were taken in the kernel.
    User,
    /// The kernel's. Samples are taken in the kernel only.
    Kernel,
}

/// The attributes of an event (`struct perf_event_attr`).
#[derive(Clone, Copy)]
pub struct Attributes(perf_event_attr);

impl Attributes {
    fn new(kind: Kind) -> Self {
        let mut attributes = perf_event_attr::default();
        let (kind, config) = match kind {
            Kind::Software(config) => (sys::PERF_TYPE_SOFTWARE, config),
            Kind::Hardware(config) => (sys::PERF_TYPE_HARDWARE, config),
        };
        attributes.type_ = kind;
        attributes.config = config.into();
        attributes.size = size_of::<perf_event_attr>() as u32;
        attributes.read_format =
            u64::from(sys::PERF_FORMAT_TOTAL_TIME_ENABLED | sys::PERF_FORMAT_TOTAL_TIME_RUNNING);
        attributes.set_exclude_hv(1);
        attributes.set_use_clockid(1);
        attributes.clockid = nix::libc::CLOCK_MONOTONIC;
        Self(attributes)
    }

    /// An event that counts.
    pub fn counting(kind: Kind) -> Self {
        Self::new(kind)
    }

    /// An event that records stacks, this many times a second of a task's CPU time, and the names, mappings, forks and exits
    /// of tasks.
    pub fn sampling(kind: Kind, hertz: u64, frames: Frames) -> Self {
        let Self(mut attributes) = Self::new(kind);
        attributes.set_freq(1);
        attributes.__bindgen_anon_1.sample_freq = hertz;
        attributes.sample_type = u64::from(
            sys::PERF_SAMPLE_IDENTIFIER
                | sys::PERF_SAMPLE_TID
                | sys::PERF_SAMPLE_TIME
                | sys::PERF_SAMPLE_CPU
                | sys::PERF_SAMPLE_CALLCHAIN,
        );
        attributes.set_sample_id_all(1);
        attributes.set_mmap(1);
        attributes.set_mmap2(1);
        attributes.set_comm(1);
        attributes.set_comm_exec(1);
        attributes.set_task(1);
        attributes.set_exclude_callchain_kernel((frames == Frames::User).into());
        attributes.set_exclude_callchain_user((frames == Frames::Kernel).into());
        attributes.set_exclude_user((frames == Frames::Kernel).into());
        Self(attributes)
    }

    /// An event that records nothing, but owns a ring buffer, whose reader is woken when it holds this many bytes.
    pub fn ring_owner(wakeup: u32) -> Self {
        let Self(mut attributes) = Self::new(Kind::Software(sys::PERF_COUNT_SW_DUMMY));
        attributes.set_exclude_kernel(1);
        attributes.set_watermark(1);
        attributes.__bindgen_anon_2.wakeup_watermark = wakeup;
        Self(attributes)
    }

    /// An event that records and counts nothing, but shows whether [its tasks have ended](super::Event::has_ended).
    pub fn liveness() -> Self {
        let Self(mut attributes) = Self::new(Kind::Software(sys::PERF_COUNT_SW_DUMMY));
        attributes.set_exclude_kernel(1);
        Self(attributes)
    }

    /// Lets tasks that start later inherit the event.
    pub fn inherited(mut self, by: Inherit) -> Self {
        self.0.set_inherit(1);
        self.0.set_inherit_thread((by == Inherit::Threads).into());
        self
    }

    /// Counts the records for which there was no room. Since Linux 6.0.
    pub fn counting_losses(mut self) -> Self {
        self.0.read_format |= u64::from(sys::PERF_FORMAT_LOST);
        self
    }

    /// Excludes the kernel (`exclude_kernel`), which needs a privilege to trace.
    pub fn without_kernel(mut self) -> Self {
        self.0.set_exclude_kernel(1);
        self.0.set_exclude_callchain_kernel(1);
        self
    }

    /// Whether stacks have frames of the kernel.
    pub fn has_kernel_frames(&self) -> bool {
        self.0.exclude_callchain_kernel() == 0
    }

    /// An event that does nothing, to find out whether the kernel allows it.
    pub fn disabled(mut self) -> Self {
        self.0.set_disabled(1);
        self
    }

    /// The samples per second of a task's CPU time. `None`, if a part of it is excluded.
    pub fn samples_of_all_time(&self) -> Option<u64> {
        let is_all = self.0.exclude_user() == 0 && self.0.exclude_kernel() == 0;
        // SAFETY: both members of the union are plain numbers of one size. Events that sample have a frequency.
        is_all.then_some(unsafe { self.0.__bindgen_anon_1.sample_freq })
    }

    /// What is counted, or triggers the samples.
    pub fn kind(&self) -> Kind {
        let config = self.0.config as u32;
        match self.0.type_ {
            sys::PERF_TYPE_HARDWARE => Kind::Hardware(config),
            _ => Kind::Software(config),
        }
    }

    pub(super) fn as_raw(&self) -> perf_event_attr {
        self.0
    }
}

//! Lines as data: the properties of each line that the host uses in addition to its text.

/// The properties of one line, in addition to its text. Frozen.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(doc), derive(abi_stable::StableAbi))]
pub struct LineEntry {
    pub(super) time: u64,
    pub(super) length: u32,
    pub(super) kind: u32,
}

/// Events that were lost on one CPU, as one line reports them. Frozen.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(doc), derive(abi_stable::StableAbi))]
pub struct Loss {
    pub(super) count: u64,
    pub(super) cpu: u32,
    pub(super) is_counted: u32,
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineKind {
    /// It begins an event.
    Event,
    /// It continues the event of the line before it.
    Continuation,
    /// It reports lost events.
    Loss,
}

impl LineKind {
    pub(super) fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Event),
            1 => Some(Self::Continuation),
            2 => Some(Self::Loss),
            _ => None,
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Event => 0,
            Self::Continuation => 1,
            Self::Loss => 2,
        }
    }
}

impl LineEntry {
    pub(crate) fn new(kind: LineKind, time: u64, length: u32) -> Self {
        Self { time, length, kind: kind.number() }
    }

    /// Returns the time of the line in nanoseconds since boot (`CLOCK_BOOTTIME`).
    ///
    /// A continuation has the time of its event. A loss has the time of the line before it, or 0 if there is none.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Returns the length of the line in bytes, its newline included.
    pub fn length(&self) -> usize {
        self.length as usize
    }

    /// Returns what the line is.
    pub fn kind(&self) -> LineKind {
        // The host has rejected every other number.
        LineKind::from_number(self.kind).unwrap_or(LineKind::Continuation)
    }
}

impl Loss {
    pub(crate) fn new(cpu: u32, count: Option<u64>) -> Self {
        Self { cpu, count: count.unwrap_or(0), is_counted: u32::from(count.is_some()) }
    }

    /// Returns the CPU on which the events were lost.
    pub fn cpu(&self) -> u32 {
        self.cpu
    }

    /// Returns how many events were lost; `None` if the number is unknown.
    pub fn count(&self) -> Option<u64> {
        (self.is_counted != 0).then_some(self.count)
    }
}

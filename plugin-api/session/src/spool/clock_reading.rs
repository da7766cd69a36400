/// The clock of the records, read at the same time as `CLOCK_BOOTTIME`. Both in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// What a record made at that time has as its time stamp.
    pub stamp: u64,
    /// The time since boot is not before this…
    pub earliest: u64,
    /// …and not after this.
    pub latest: u64,
}

impl ClockReading {
    /// The size of its binary form.
    pub(super) const SIZE: usize = 24;

    pub(super) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        for (place, number) in bytes.chunks_exact_mut(8).zip([self.stamp, self.earliest, self.latest]) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks::<8>() else { return None };
        let [stamp, earliest, latest] = *numbers else { return None };
        let [stamp, earliest, latest] = [stamp, earliest, latest].map(u64::from_ne_bytes);
        Some(Self { stamp, earliest, latest })
    }
}

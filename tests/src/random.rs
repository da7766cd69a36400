use std::hash::{BuildHasher, RandomState};

/// Random numbers, which can be had again: they begin with the number in `SEED`, or else with another one each time,
/// which is printed.
///
/// They are none too good (xorshift64*, Marsaglia and Vigna).
pub struct Random(u64);

impl Random {
    /// Begins.
    pub fn from_environment() -> Self {
        let given = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(()));
        println!("this can be had again with SEED={seed}");
        // From nothing comes nothing.
        Self(seed.max(1))
    }

    /// A number below the limit.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

use std::hash::{BuildHasher, RandomState};

/// Reproducible random numbers: the seed is taken from the environment variable `SEED`; without it, a new seed is chosen
/// and printed.
///
/// The generator is xorshift64* (Marsaglia and Vigna).
pub struct Random(u64);

impl Random {
    /// A generator with the seed from the environment, or a new one.
    pub fn from_environment() -> Self {
        let given = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(()));
        println!("this can be had again with SEED={seed}");
        // The state of xorshift must not be 0.
        Self(seed.max(1))
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

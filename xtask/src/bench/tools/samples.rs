//! Repeated measurements, and their percentiles.

use std::time::Duration;

use crate::error::Result;

/// Sorted figures, at least one.
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn new(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        Self(figures)
    }

    /// Milliseconds.
    pub fn times(times: Vec<Duration>) -> Self {
        Self::new(times.into_iter().map(|time| time.as_secs_f64() * 1000.0).collect())
    }

    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    pub fn p90(&self) -> f64 {
        self.at(0.9)
    }

    pub fn p10(&self) -> f64 {
        self.at(0.1)
    }

    fn at(&self, share: f64) -> f64 {
        self.0[((self.0.len() - 1) as f64 * share).round() as usize]
    }
}

/// Measures two things alternately, so that other load on the machine affects both alike.
///
/// The first turn is a warm-up and not counted.
pub fn in_turns<T>(
    turns: usize,
    mut floor: impl FnMut() -> Result<T>,
    mut ours: impl FnMut() -> Result<T>,
) -> Result<(Vec<T>, Vec<T>)> {
    floor()?;
    ours()?;
    let pairs = (0..turns).map(|_| Ok((floor()?, ours()?)));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::Samples;

    #[test]
    fn median_and_p90_are_computed() {
        let samples = Samples::new((1..=11).rev().map(f64::from).collect());
        assert_eq!((samples.median(), samples.p90()), (6.0, 10.0));
        assert_eq!(Samples::new(vec![7.0]).p90(), 7.0);
    }
}

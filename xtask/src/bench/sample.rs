//! Durations and their statistics.

use std::fmt;
use std::time::Duration;

/// Sorted durations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    pub(crate) fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    /// Returns the smallest duration that at least `percent` of all do not exceed, or zero if there
    /// are none.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.percentile(50)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, high] = [50, 95].map(|percent| self.percentile(percent).as_secs_f64());
        write!(formatter, "{:>4} {median:>9.3} s {high:>9.3} s", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(millis: impl IntoIterator<Item = u64>) -> Sample {
        Sample::new(millis.into_iter().map(Duration::from_millis).collect())
    }

    #[test]
    fn percentiles_are_durations_that_were_measured() {
        let hundred = sample((1..=100).rev());
        assert_eq!(hundred.median(), Duration::from_millis(50));
        assert_eq!(hundred.percentile(95), Duration::from_millis(95));
        let few = sample([30, 10, 20]);
        assert_eq!(few.median(), Duration::from_millis(20));
        assert_eq!(few.percentile(95), Duration::from_millis(30));
        assert_eq!(sample([]).median(), Duration::ZERO);
    }
}

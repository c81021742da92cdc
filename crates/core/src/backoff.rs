//! The pauses between the retries of something that fails.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Pauses that double from a first one to a longest one, with jitter: each is between half of its
/// nominal length and all of it, so that many clients do not retry at the same instant.
///
/// A backoff never ends. The caller decides when to give up.
///
/// ```
/// # use std::time::Duration;
/// # use longshore_core::Backoff;
/// let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// assert!(backoff.next_pause() <= Duration::from_secs(1));
/// assert!(backoff.next_pause() >= Duration::from_secs(1));
/// backoff.reset();
/// assert!(backoff.next_pause() <= Duration::from_secs(1));
/// ```
#[derive(Debug)]
pub struct Backoff {
    settings: ExponentialBuilder,
    longest: Duration,
    pauses: ExponentialBackoff,
}

impl Backoff {
    /// Creates a backoff from `first` to `longest`. Its jitter is random.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        // The library adds a jitter of up to the whole pause to the pause, also to the longest one.
        let settings = ExponentialBuilder::new()
            .with_min_delay(first.min(longest) / 2)
            .with_max_delay(longest / 2)
            .without_max_times()
            .with_jitter();
        Self { settings, longest, pauses: settings.build() }
    }

    /// Derives the jitter from `seed`. The pauses are then the same in every run, and differ from
    /// those of another seed.
    #[must_use]
    pub fn seeded_by(mut self, seed: &impl Hash) -> Self {
        // A new `DefaultHasher` always has the same keys.
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        self.settings = self.settings.with_jitter_seed(hasher.finish());
        self.reset();
        self
    }

    /// Returns the next pause.
    pub fn next_pause(&mut self) -> Duration {
        self.pauses.next().unwrap_or(self.longest)
    }

    /// Begins again with the first pause, after a success.
    pub fn reset(&mut self) {
        self.pauses = self.settings.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(10);

    fn pauses(backoff: &mut Backoff) -> Vec<Duration> {
        (0..40).map(|_| backoff.next_pause()).collect()
    }

    #[test]
    fn a_pause_is_between_half_of_its_length_and_all_of_it() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(FIRST, LONGEST).seeded_by(&seed);
            for nominal in [1, 2, 4, 8, 10, 10, 10] {
                let nominal = Duration::from_secs(nominal);
                let pause = backoff.next_pause();
                assert!(nominal / 2 <= pause && pause <= nominal, "{pause:?} of {nominal:?}");
            }
        }
    }

    #[test]
    fn it_begins_again_after_a_reset() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        pauses(&mut backoff);
        backoff.reset();
        assert!(backoff.next_pause() <= FIRST);
    }

    #[test]
    fn the_same_seed_gives_the_same_pauses_and_another_one_others() {
        let of = |seed: &str| pauses(&mut Backoff::new(FIRST, LONGEST).seeded_by(&seed));
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
    }

    #[test]
    fn two_without_a_seed_do_not_retry_together() {
        let random = || pauses(&mut Backoff::new(FIRST, LONGEST));
        assert_ne!(random(), random());
    }

    #[test]
    fn a_first_pause_above_the_longest_is_the_longest() {
        assert!(Backoff::new(LONGEST, FIRST).next_pause() <= FIRST);
    }
}

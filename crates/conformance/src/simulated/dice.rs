//! Repeatable random choices.

use std::ops::Range;
use std::time::Duration;

/// A repeatable source of choices: splitmix64 (Steele, Lea, Flood, 2014).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Returns the choices of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `bound`, which is at least 1.
    pub const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Returns true with a probability of `percent`.
    pub const fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Returns one of `items`, which must not be empty.
    pub fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let bound = items.len() as u64;
        &items[usize::try_from(self.below(bound)).unwrap_or_default()]
    }

    /// Returns a duration in whole milliseconds. Every order of magnitude is equally likely, so
    /// that both races and long waits occur.
    pub fn duration(&mut self, range: Range<Duration>) -> Duration {
        let low = u64::try_from(range.start.as_millis()).unwrap_or(u64::MAX);
        let high = u64::try_from(range.end.as_millis()).unwrap_or(u64::MAX).max(low + 1);
        let span = high - low;
        let bits = u64::from(u64::BITS - span.leading_zeros());
        let reach = (1_u64 << self.below(bits.min(62)).saturating_add(1)).min(span);
        Duration::from_millis(low + self.below(reach))
    }
}

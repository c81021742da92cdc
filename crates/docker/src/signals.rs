//! The signals that a container received through the engine's API. Pure.

/// The default signals of `docker stop`, `docker kill` and `docker restart`, and others that ask a
/// process to end: HUP, INT, QUIT, ABRT, KILL and TERM.
const ENDING: [u32; 6] = [1, 2, 3, 6, 9, 15];
/// TERM, in place of a signal that the engine does not name.
const TERM: u32 = 15;

/// The signals that the engine sent to a container before its first end.
///
/// Longshore writes a mark before it sends a signal: about the end that it has decided on, or about
/// the signal itself. Without either, a signal is from another client of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    count: u32,
    /// Bit n: whether signal n was sent.
    sent: u64,
}

impl Signals {
    /// Records the `signal` attribute of a `kill` event.
    pub(crate) fn add(&mut self, signal: Option<u32>) {
        self.count = self.count.saturating_add(1);
        let signal = signal.filter(|n| (1..64).contains(n)).unwrap_or(TERM);
        self.sent |= 1 << signal;
    }

    /// How many signals were sent. An event that the engine repeats counts again.
    pub(crate) const fn count(self) -> u32 {
        self.count
    }

    /// These signals except the ones with the number `signal`.
    pub(crate) const fn without(mut self, signal: u32) -> Self {
        self.sent &= !(1 << signal);
        self
    }

    /// These signals and `other`.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self { count: self.count.saturating_add(other.count), sent: self.sent | other.sent }
    }

    /// The signal that may have caused an end with `code`. The rule:
    /// - HUP, INT, QUIT, ABRT, KILL and TERM may have, whatever the code and however much later the
    ///   end is: a handler may take any time and exit with any code.
    /// - Another signal n (USR1, WINCH) often only notifies a process. It may have caused the end
    ///   only if the code is 128+n.
    pub(crate) fn cause(self, code: i32) -> Option<u32> {
        let was_sent = |signal: &u32| self.sent & (1 << signal) != 0;
        let of_code = u32::try_from(code).ok().and_then(|code| code.checked_sub(128));
        let of_code = of_code.filter(|n| (1..64).contains(n) && was_sent(n));
        of_code.or_else(|| ENDING.into_iter().rev().find(was_sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_asks_for_the_end_is_the_cause_and_another_only_with_its_own_code() {
        let (hup, int, kill, usr1, term, winch) = (1, 2, 9, 10, 15, 28);
        for (sent, code, cause) in [
            (&[][..], 0, None),
            (&[], 143, None),
            (&[term], 0, Some(term)),
            (&[term], 7, Some(term)),
            (&[term], 143, Some(term)),
            (&[term, kill], 137, Some(kill)),
            (&[hup], 0, Some(hup)),
            (&[int], 130, Some(int)),
            (&[usr1], 0, None),
            (&[usr1], 138, Some(usr1)),
            (&[winch], 1, None),
            (&[usr1, term], 0, Some(term)),
            (&[0, 99], 0, Some(TERM)),
        ] {
            let mut signals = Signals::default();
            sent.iter().for_each(|signal| signals.add(Some(*signal)));
            assert_eq!(signals.cause(code), cause, "{sent:?} {code}");
        }
        let mut unnamed = Signals::default();
        unnamed.add(None);
        assert_eq!(unnamed.cause(0), Some(TERM));
    }
}

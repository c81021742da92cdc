//! Signals, as Linux numbers them.

// No input may cause a panic.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing)
)]

use std::fmt;
use std::str::FromStr;

/// The names of the signals from 1 on (signal(7)).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// A signal, as `docker kill --signal` names it: `HUP`, `SIGHUP` or `1`.
///
/// The signals 1 to 31 of Linux on most architectures; no real-time signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

impl Signal {
    /// Ends a process, which cannot handle it.
    pub const KILL: Self = Self(9);
    /// Asks a process to end.
    pub const TERM: Self = Self(15);

    /// Returns the signal with this number, from 1 to 31.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        (1..=31).contains(&number).then_some(Self(number))
    }

    /// Returns the number of the signal.
    #[must_use]
    pub const fn number(self) -> i32 {
        // `From` is not const.
        self.0 as i32
    }

    /// Returns the name without `SIG`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.get(usize::from(self.0.saturating_sub(1))).copied().unwrap_or_default()
    }

    /// Returns all signals.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=31).map(Self)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse =
            || format!("`{text}` is not a signal: write a name such as HUP or SIGHUP, or 1");
        if let Ok(number) = text.parse() {
            return Self::from_number(number).ok_or_else(refuse);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        Self::all().find(|signal| signal.name() == name).ok_or_else(refuse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_with_or_without_sig_and_a_number() {
        for text in ["HUP", "SIGHUP", "sighup", "1", "01"] {
            assert_eq!(text.parse::<Signal>().unwrap().number(), 1, "{text}");
        }
        for signal in Signal::all() {
            assert_eq!(signal.to_string().parse(), Ok(signal));
            assert_eq!(signal.number().to_string().parse(), Ok(signal));
        }
        assert_eq!(("KILL".parse(), "TERM".parse()), (Ok(Signal::KILL), Ok(Signal::TERM)));
        for wrong in ["", "SIG", "0", "-1", "32", "64", "RTMIN", "HUPP", "SIGSIGHUP"] {
            assert!(wrong.parse::<Signal>().is_err(), "{wrong}");
        }
    }
}

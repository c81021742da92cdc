//! Durations as people write them.

// No input may cause a panic.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing)
)]

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
#[cfg(feature = "schema")]
use schemars::JsonSchema;

/// A duration as people write it: `90s`, `1h 30m`, `10 minutes`, `250ms`, or ISO 8601 (`PT10M`).
///
/// Never negative, and at most 1,000 years, so that adding it to a time never overflows. Units are
/// those of jiff's friendly format up to hours, `d` for 24 hours and `w` for 7 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(Duration);

crate::serde_as_text!(HumanDuration);

/// The longest duration in seconds: 1,000 years of 365.25 days.
const MOST_SECONDS: u64 = 31_557_600_000;

impl HumanDuration {
    /// Creates a duration of `seconds`, or the longest one.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        let longer = seconds > MOST_SECONDS;
        Self(Duration::from_secs(if longer { MOST_SECONDS } else { seconds }))
    }

    /// Returns the duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for HumanDuration {
    /// Returns `duration`, or the longest duration if it is shorter.
    fn from(duration: Duration) -> Self {
        Self(duration.min(Duration::from_secs(MOST_SECONDS)))
    }
}

impl From<HumanDuration> for Duration {
    fn from(duration: HumanDuration) -> Self {
        duration.0
    }
}

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || {
            format!(
                "`{text}` is not a duration: write a number and a unit, such as 30s, 10m or 1h 30m"
            )
        };
        let (days, rest) = days(text.trim()).ok_or_else(refuse)?;
        let rest = match rest {
            "" if !text.trim().is_empty() => Duration::ZERO,
            rest => {
                let rest: SignedDuration = rest.parse().map_err(|_| refuse())?;
                Duration::try_from(rest).map_err(|_| refuse())?
            }
        };
        days.checked_mul(86_400)
            .and_then(|seconds| Duration::from_secs(seconds).checked_add(rest))
            .filter(|duration| *duration <= Duration::from_secs(MOST_SECONDS))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is longer than 1,000 years"))
    }
}

/// Takes the weeks and days from the beginning of `text`. Returns their sum in days, and the rest.
///
/// jiff accepts neither in an exact duration; users of Cortex write them (`1 day`).
fn days(text: &str) -> Option<(u64, &str)> {
    let mut days: u64 = 0;
    let mut rest = text;
    loop {
        let unit = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = rest.strip_suffix(unit)?;
        let unit = unit.trim_start();
        let after = unit.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let factor = match unit.strip_suffix(after)? {
            "d" | "day" | "days" => 1,
            "w" | "week" | "weeks" => 7,
            _ => return Some((days, rest)),
        };
        let number: u64 = number.parse().ok()?;
        days = number.checked_mul(factor).and_then(|more| days.checked_add(more))?;
        rest = after.trim_start();
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX);
        write!(f, "{signed:#}")
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for HumanDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A duration: a number and a unit, such as 30s, 10m or 1h 30m.",
            "examples": ["30s"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("90s", 90),
            ("10m", 600),
            ("1h 30m", 5400),
            ("1h30m", 5400),
            ("30 minutes", 1800),
            ("PT10M", 600),
            ("1 day", 86_400),
            ("2d", 172_800),
            ("1w", 604_800),
            ("1 week 2 days", 777_600),
            ("1d12h", 129_600),
            ("36525d", 3_155_760_000),
            ("0s", 0),
        ] {
            assert_eq!(text.parse(), Ok(HumanDuration::from_secs(seconds)), "{text}");
        }
        let half: HumanDuration = "500ms".parse().unwrap();
        assert_eq!(half.get(), Duration::from_millis(500));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in ["", "10", "ten minutes", "-5s", "5 parsecs", "99999999999999999999d", "d"] {
            let error = text.parse::<HumanDuration>().unwrap_err();
            assert!(error.contains("10m"), "{error}");
        }
    }

    /// Each of these made a caller that adds it to a time panic.
    #[test]
    fn a_duration_near_the_limit_of_its_type_is_refused() {
        for text in
            ["9223372036854775807s", "106751991167300d", "876600h 1s 876600000h", "1001w 99999999w"]
        {
            let error = text.parse::<HumanDuration>().unwrap_err();
            assert!(error.contains("1,000 years") || error.contains("10m"), "{error}");
        }
        let longest: HumanDuration = "365250d".parse().unwrap();
        assert_eq!(HumanDuration::from(Duration::MAX), longest);
        assert_eq!(HumanDuration::from_secs(u64::MAX), longest);
        assert!("365250d 1ns".parse::<HumanDuration>().is_err());
    }

    #[test]
    fn a_duration_is_written_so_that_it_can_be_read_again() {
        for seconds in [0, 1, 59, 60, 90, 3600, 86_400, 90_061] {
            let duration = HumanDuration::from_secs(seconds);
            assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}

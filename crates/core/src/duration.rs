//! Durations as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde_with::{DeserializeFromStr, SerializeDisplay};

/// A duration as people write it: `90s`, `1h 30m`, `10 minutes`, `250ms`, or ISO 8601 (`PT10M`).
///
/// Never negative. Units are those of jiff's friendly format up to hours, and `d` for 24 hours.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    SerializeDisplay,
    DeserializeFromStr,
)]
pub struct HumanDuration(Duration);

impl HumanDuration {
    /// Creates a duration of `seconds`.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Returns the duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
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
        let text = text.trim();
        // jiff accepts no days in an exact duration; users of Cortex write them (`1 day`).
        if let Some(days) = whole_days(text) {
            let seconds = days.checked_mul(86_400).ok_or_else(refuse)?;
            return Ok(Self(Duration::from_secs(seconds)));
        }
        let signed: SignedDuration = text.parse().map_err(|_| refuse())?;
        Duration::try_from(signed).map(Self).map_err(|_| refuse())
    }
}

fn whole_days(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    matches!(unit, "d" | "day" | "days").then(|| digits.trim().parse().ok()).flatten()
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX);
        write!(f, "{signed:#}")
    }
}

impl JsonSchema for HumanDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A duration: a number and a unit, such as 30s, 10m or 1h 30m.",
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
            ("0s", 0),
        ] {
            assert_eq!(text.parse(), Ok(HumanDuration::from_secs(seconds)), "{text}");
        }
        let half: HumanDuration = "500ms".parse().unwrap();
        assert_eq!(half.get(), Duration::from_millis(500));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in ["", "10", "ten minutes", "-5s", "5 parsecs", "99999999999999999999d"] {
            let error = text.parse::<HumanDuration>().unwrap_err();
            assert!(error.contains("10m"), "{error}");
        }
    }

    #[test]
    fn a_duration_is_written_so_that_it_can_be_read_again() {
        for seconds in [0, 1, 59, 60, 90, 3600, 86_400, 90_061] {
            let duration = HumanDuration::from_secs(seconds);
            assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}

//! Values that several options have.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use longshore::job::HumanDuration;

/// Parses a duration, or a number of seconds as `docker` and `timeout` write one.
pub fn duration(text: &str) -> Result<HumanDuration, String> {
    match text.parse() {
        Ok(seconds) => Ok(HumanDuration::from_secs(seconds)),
        Err(_) => text.parse(),
    }
}

/// Parses a time as `docker logs` does: a duration before now, a date and time (by the local clock
/// unless it names an offset), or a number of seconds since 1970.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    let refuse = || {
        format!(
            "`{text}` is not a time: write a duration before now, such as 10m, a date and time, such \
             as 2026-01-31T13:05:00 or 2026-01-31T13:05:00Z, or seconds since 1970"
        )
    };
    if let Some(timestamp) = unix_time(text) {
        return Ok(timestamp);
    }
    if let Ok(before) = text.parse::<HumanDuration>() {
        return Timestamp::now().checked_sub(before.get()).map_err(|_| refuse());
    }
    if let Ok(timestamp) = text.parse() {
        return Ok(timestamp);
    }
    let local: DateTime = text.parse().map_err(|_| refuse())?;
    TimeZone::system().to_timestamp(local).map_err(|_| refuse())
}

/// Parses seconds since 1970, with up to nine decimal places.
fn unix_time(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !is_number(seconds) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    Timestamp::new(seconds.parse().ok()?, format!("{fraction:0<9}").parse().ok()?).ok()
}

pub fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_duration_before_now_a_date_or_seconds_since_1970() {
        let at = |text: &str| moment(text).unwrap().to_string();
        assert_eq!(at("1136073600"), "2006-01-01T00:00:00Z");
        assert_eq!(at("1136073600.000000001"), "2006-01-01T00:00:00.000000001Z");
        assert_eq!(at("1136073600.5"), "2006-01-01T00:00:00.5Z");
        assert_eq!(at("2006-01-01T00:00:00Z"), "2006-01-01T00:00:00Z");
        assert_eq!(at("2006-01-01T02:00:00.25+02:00"), "2006-01-01T00:00:00.25Z");
        let local = |text: &str| {
            let shown = moment(text).unwrap().to_zoned(TimeZone::system());
            shown.datetime().to_string()
        };
        assert_eq!(local("2006-01-01"), "2006-01-01T00:00:00");
        assert_eq!(local("2006-01-01T13:05"), "2006-01-01T13:05:00");
        let before = Timestamp::now();
        let ago = before.duration_since(moment("1h30m").unwrap()).as_secs();
        assert!((5395..=5400).contains(&ago), "{ago}");
        for wrong in
            ["", "yesterday", "-5", "1.", "1.1234567890", "99999999999999999", "2006-13-01"]
        {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bare_number_is_a_number_of_seconds() {
        assert_eq!(duration("10"), Ok(HumanDuration::from_secs(10)));
        assert_eq!(duration("1w"), Ok(HumanDuration::from_secs(604_800)));
        assert!(duration("-1").is_err() && duration("").is_err());
    }
}

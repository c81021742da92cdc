//! Values that several options have.

use longshore::HumanDuration;

/// Parses a duration, or a number of seconds as `docker` and `timeout` write one.
pub fn duration(text: &str) -> Result<HumanDuration, String> {
    match text.parse() {
        Ok(seconds) => Ok(HumanDuration::from_secs(seconds)),
        Err(_) => text.parse(),
    }
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
    fn a_bare_number_is_a_number_of_seconds() {
        assert_eq!(duration("10"), Ok(HumanDuration::from_secs(10)));
        assert_eq!(duration("1w"), Ok(HumanDuration::from_secs(604_800)));
        assert!(duration("-1").is_err() && duration("").is_err());
    }
}

//! The API server's time, as the `Date` of its answers shows it.
//!
//! The local clock may differ from the cluster's by any amount. Times in objects and logs are
//! therefore compared with the cluster's own time only.

use std::sync::Arc;

use http::HeaderMap;
use http::header::DATE;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The API server's clock. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerClock(Arc<Mutex<Option<(Timestamp, Instant)>>>);

impl ServerClock {
    /// Records the time of an answer that has just arrived.
    pub(crate) fn heard(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
        if let Some(date) = date {
            *self.0.lock() = Some((date, Instant::now()));
        }
    }

    /// Returns the API server's time. It is up to a second late, because a `Date` has whole seconds,
    /// and later by as long as the last answer was under way. Before the first answer, this is the
    /// local time.
    pub(crate) fn now(&self) -> Timestamp {
        let heard = *self.0.lock();
        let now = heard.and_then(|(date, at)| date.checked_add(at.elapsed()).ok());
        now.unwrap_or_else(Timestamp::now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    fn dated(date: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(DATE, HeaderValue::from_static(date))])
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_goes_on_from_the_last_answer_whatever_the_local_clock_says() {
        let clock = ServerClock::default();
        let other = clock.clone();
        clock.heard(&dated("Sun, 06 Nov 1994 08:49:37 GMT"));
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(other.now(), "1994-11-06T08:51:07Z".parse::<Timestamp>().unwrap());
        clock.heard(&dated("Sun, 06 Nov 1994 08:00:00 GMT"));
        assert_eq!(other.now(), "1994-11-06T08:00:00Z".parse::<Timestamp>().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_a_date_changes_nothing() {
        let clock = ServerClock::default();
        let before = Timestamp::now();
        clock.heard(&HeaderMap::new());
        clock.heard(&dated("yesterday"));
        assert!(clock.now() >= before && clock.now() <= Timestamp::now());
    }
}

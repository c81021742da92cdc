//! The API server's time, as the `Date` of its answers shows it.
//!
//! The local clock may differ from the cluster's by any amount. Times in objects and logs are
//! therefore compared with the cluster's own time only.

use std::sync::Arc;

use http::HeaderMap;
use http::header::DATE;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How far an answer's `Date` may be behind the time so far: a `Date` has whole seconds, and the
/// answer may have been under way for some time. Beyond that, the server's clock was set back.
const SET_BACK: SignedDuration = SignedDuration::from_secs(5);

/// The API server's clock. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerClock(Arc<Mutex<Option<(Timestamp, Instant)>>>);

impl ServerClock {
    /// Records the time of an answer that has just arrived.
    pub(crate) fn heard(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
        let Some(date) = date else { return };
        let mut heard = self.0.lock();
        // Each answer shows that it is at least as late as its date.
        let behind = heard.and_then(reached).map(|now| now.duration_since(date));
        if behind.is_none_or(|behind| behind.is_negative() || behind > SET_BACK) {
            *heard = Some((date, Instant::now()));
        }
    }

    /// Returns the API server's time. It may be up to a second late, because a `Date` has whole
    /// seconds, and by as long as the answers were under way, but is never early. Before the first
    /// answer, this is the local time.
    pub(crate) fn now(&self) -> Timestamp {
        let heard = *self.0.lock();
        heard.and_then(reached).unwrap_or_else(Timestamp::now)
    }
}

/// Returns the present time, if it was `date` at `at`.
fn reached((date, at): (Timestamp, Instant)) -> Option<Timestamp> {
    date.checked_add(at.elapsed()).ok()
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
    async fn of_several_answers_the_one_that_is_under_way_for_the_shortest_time_counts() {
        let clock = ServerClock::default();
        clock.heard(&dated("Sun, 06 Nov 1994 08:49:37 GMT"));
        tokio::time::advance(Duration::from_millis(1900)).await;
        clock.heard(&dated("Sun, 06 Nov 1994 08:49:38 GMT"));
        assert_eq!(clock.now(), "1994-11-06T08:49:38.9Z".parse::<Timestamp>().unwrap());
        tokio::time::advance(Duration::from_millis(50)).await;
        clock.heard(&dated("Sun, 06 Nov 1994 08:49:39 GMT"));
        assert_eq!(clock.now(), "1994-11-06T08:49:39Z".parse::<Timestamp>().unwrap());
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

//! Counts the requests to a backend.

use crate::RunnerName;

/// Counts the requests that a runner sends to its backend, each by the status of its answer.
///
/// With the feature `metrics`, it reports to the recorder of the crate `metrics` that the program has
/// installed, as `longshore_api_requests_total`. Without that feature it does nothing.
///
/// ```
/// # use longshore_core::RequestCounter;
/// let requests = RequestCounter::new(&"docker".parse()?);
/// requests.answered(201);
/// # Ok::<(), longshore_core::InvalidName>(())
/// ```
#[derive(Clone, Debug)]
pub struct RequestCounter {
    #[cfg(feature = "metrics")]
    runner: metrics::SharedString,
}

impl RequestCounter {
    /// Creates the counter of `runner`.
    #[must_use]
    pub fn new(runner: &RunnerName) -> Self {
        #[cfg(not(feature = "metrics"))]
        let _ = runner;
        Self {
            #[cfg(feature = "metrics")]
            runner: runner.as_str().to_owned().into(),
        }
    }

    /// Counts a request whose answer had the HTTP status `status`.
    pub fn answered(&self, status: u16) {
        self.count(|| status.to_string());
    }

    /// Counts a request that got no answer.
    pub fn unanswered(&self) {
        self.count(|| "none".to_owned());
    }

    fn count(&self, code: impl FnOnce() -> String) {
        #[cfg(feature = "metrics")]
        metrics::counter!(
            "longshore_api_requests_total",
            "runner" => self.runner.clone(),
            "code" => code()
        )
        .increment(1);
        #[cfg(not(feature = "metrics"))]
        let _ = code;
    }
}

//! How fast the backend starts a job, and how busy this machine is.
//!
//! The suite measures both, so that it does not mistake a slow backend for a broken one, and does
//! not mistake a broken one for a correct one because it looked too early.

use std::fmt;
use std::time::Duration;

use futures::future::join_all;
use longshore_core::LaunchContext;
use tokio::time::Instant;

use crate::Failure;
use crate::bench::Bench;
use crate::failure::Checked;
use crate::wait::within;

/// The jobs that measure, after one that warms the backend up.
const SAMPLES: usize = 3;
/// How many times the longest start the suite adds to the fixture's patience.
const STARTS: u32 = 4;
/// How much longer than the fixture's patience a measured start may take. The patience does not
/// include the latency before it is known.
const UNKNOWN_START: Duration = Duration::from_secs(10);
/// The largest factor for a busy machine.
pub(crate) const MOST_LOAD: u32 = 8;
/// The largest patience. The longest jobs of the cases run for 600 seconds, and must outlast it.
const MOST_PATIENCE: Duration = Duration::from_secs(500);
/// How long the suite looks for a late start, at least. A start may take longer than measured on
/// a busy machine.
const LEAST_LATE: Duration = Duration::from_millis(200);

/// The backend's start latency: how long `launch` takes until it reports that the job started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latency {
    pub(crate) median: Duration,
    pub(crate) longest: Duration,
}

impl Latency {
    /// Summarises `samples`, or returns `None` without any.
    pub(crate) fn of(mut samples: Vec<Duration>) -> Option<Self> {
        samples.sort_unstable();
        let longest = *samples.last()?;
        Some(Self { median: samples[samples.len() / 2], longest })
    }

    /// Returns how much longer than another start, one that must not happen could take to show.
    pub(crate) fn late(self) -> Duration {
        self.longest.max(LEAST_LATE)
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0?} (median) and {:.0?} (longest)", self.median, self.longest)
    }
}

/// Measures the start latency with jobs that end at once.
pub(crate) async fn measure(bench: &Bench) -> Checked<Latency> {
    // A backend may pull the image or start a helper for the first job.
    one(bench).await.map_err(|e| e.while_doing("failed to measure how long a start takes"))?;
    let several = join_all((0..SAMPLES).map(|_| one(bench))).await;
    let samples = several.into_iter().collect::<Checked<Vec<_>>>();
    // What the jobs leave behind is for the cases about `remove` to find.
    let _ = bench.clean_up().await;
    Latency::of(samples?).ok_or_else(|| Failure::new("no start was measured"))
}

async fn one(bench: &Bench) -> Checked<Duration> {
    let attempt = bench.attempt(bench.fixture().job("exit 0"));
    let runner = bench.runner().await?;
    let began = Instant::now();
    let patience = bench.patience() + UNKNOWN_START;
    let context = LaunchContext::new(began + patience);
    let launch = runner.launch(&attempt, &context);
    within(patience * 2, "launch to answer", launch).await??;
    Ok(began.elapsed())
}

/// Returns how long to wait for one step: the fixture's patience and some starts, multiplied by
/// the load of the machine.
pub(crate) fn patience(fixture: Duration, latency: Option<Latency>, load: u32) -> Duration {
    let starts = latency.map_or(Duration::ZERO, |latency| latency.longest * STARTS);
    ((fixture + starts) * load).min(MOST_PATIENCE.max(fixture))
}

/// Returns how many times longer a step takes than on an idle machine: the runnable tasks for each
/// core, from 1 to 8. It is 1 where `/proc/loadavg` does not exist.
#[must_use]
pub fn load() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load_of(&text, u32::try_from(cores).unwrap_or(1))
}

/// Reads `/proc/loadavg` (proc_loadavg(5)): the load of the last minute, and the tasks that are
/// runnable now. The larger counts, as the first lags behind and the second fluctuates.
fn load_of(text: &str, cores: u32) -> u32 {
    let mut words = text.split_whitespace();
    let minute: u32 = words.next().and_then(|w| w.split('.').next()?.parse().ok()).unwrap_or(0);
    let now: u32 = words.nth(2).and_then(|w| w.split('/').next()?.parse().ok()).unwrap_or(0);
    minute.max(now).div_ceil(cores.max(1)).clamp(1, MOST_LOAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_the_runnable_tasks_for_each_core() {
        assert_eq!(load_of("0.20 1.00 1.00 1/189 5271", 2), 1);
        assert_eq!(load_of("4.08 4.75 3.03 3/189 5271", 2), 2);
        assert_eq!(load_of("1.00 4.75 3.03 9/189 5271", 2), 5);
        assert_eq!(load_of("90.0 4.75 3.03 9/189 5271", 2), MOST_LOAD);
        assert_eq!(load_of("", 2), 1);
    }

    #[test]
    fn one_slow_sample_does_not_change_the_median() {
        let millis = |samples: &[u64]| {
            Latency::of(samples.iter().copied().map(Duration::from_millis).collect())
        };
        let latency = millis(&[12, 900, 10]).unwrap();
        assert_eq!(latency.median, Duration::from_millis(12));
        assert_eq!(latency.late(), Duration::from_millis(900));
        assert_eq!(millis(&[1]).unwrap().late(), LEAST_LATE);
        assert_eq!(millis(&[]), None);
    }

    #[test]
    fn patience_grows_with_the_latency_and_the_load_up_to_a_bound() {
        let seconds = Duration::from_secs;
        let slow = Latency { median: seconds(2), longest: seconds(2) };
        assert_eq!(patience(seconds(30), None, 1), seconds(30));
        assert_eq!(patience(seconds(30), Some(slow), 2), seconds(76));
        assert_eq!(patience(seconds(60), Some(slow), 8), seconds(500));
        assert_eq!(patience(seconds(900), Some(slow), 8), seconds(900));
    }
}

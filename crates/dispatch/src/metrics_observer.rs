//! An observer that reports to the crate `metrics`. `docs/metrics.md` documents the names.

use std::collections::HashMap;
use std::time::Duration;

use longshore_core::{Event, JobId, JobResult, RunnerName};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::job_event::JobEvent;
use crate::observer::{Observer, RunnerEvent};

/// Reports jobs and runners to the recorder of the crate `metrics` that the program has installed.
///
/// `docs/metrics.md` lists the metrics. Labels have few values: the names of runners, and kinds of
/// outcomes and errors, never jobs or images.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use longshore_dispatch::{Dispatcher, MetricsObserver};
///
/// // After the program has installed a recorder, such as that of metrics-exporter-prometheus.
/// let builder = Dispatcher::builder().observer(Arc::new(MetricsObserver::new()));
/// ```
#[derive(Debug, Default)]
pub struct MetricsObserver {
    jobs: Mutex<HashMap<JobId, Times>>,
}

/// The beginnings of what a job is doing now.
#[derive(Debug, Default)]
struct Times {
    submitted: Option<Instant>,
    launching: Option<Instant>,
    pulling: Option<Instant>,
    queued: bool,
}

impl Times {
    /// Notes whether the job waits for a place.
    fn queue(&mut self, queued: bool) {
        match (std::mem::replace(&mut self.queued, queued), queued) {
            (false, true) => gauge!("longshore_jobs_queued").increment(1),
            (true, false) => gauge!("longshore_jobs_queued").decrement(1),
            _ => {}
        }
    }
}

impl MetricsObserver {
    /// Creates an observer, and describes its metrics to the installed recorder.
    #[must_use]
    pub fn new() -> Self {
        describe();
        Self::default()
    }

    /// Does `update` with the times of a job that this process runs or follows.
    fn update(&self, job: &JobId, update: impl FnOnce(&mut Times)) {
        if let Some(times) = self.jobs.lock().get_mut(job) {
            update(times);
        }
    }

    fn begins(&self, job: &JobId, times: Times) {
        if self.jobs.lock().insert(job.clone(), times).is_none() {
            gauge!("longshore_jobs_in_flight").increment(1);
        }
    }

    fn is_over(&self, job: &JobId) {
        if let Some(mut times) = self.jobs.lock().remove(job) {
            times.queue(false);
            gauge!("longshore_jobs_in_flight").decrement(1);
        }
    }

    fn progress(&self, job: &JobId, runner: &RunnerName, event: &Event) {
        match event {
            Event::Pulling { .. } => self.update(job, |times| {
                if times.pulling.is_none() {
                    times.pulling = Some(Instant::now());
                    counter!("longshore_pulls_total", "runner" => text(runner)).increment(1);
                }
            }),
            Event::Pulled => self.update(job, |times| {
                if let Some(since) = times.pulling.take() {
                    histogram!("longshore_pull_duration_seconds", "runner" => text(runner))
                        .record(since.elapsed());
                }
            }),
            _ => {}
        }
    }
}

impl Observer for MetricsObserver {
    fn job_event(&self, job: &JobId, event: &JobEvent) {
        match event {
            JobEvent::Submitted { .. } => {
                counter!("longshore_jobs_submitted_total").increment(1);
                let submitted = Some(Instant::now());
                self.begins(job, Times { submitted, ..Times::default() });
            }
            JobEvent::TakenUp => {
                counter!("longshore_jobs_taken_up_total").increment(1);
                self.begins(job, Times::default());
            }
            JobEvent::Queued => self.update(job, |times| times.queue(true)),
            JobEvent::PassedOver(passed) => {
                let (runner, reason) = (text(&passed.runner), passed.kind.clone());
                counter!("longshore_passed_over_total", "runner" => runner, "reason" => reason)
                    .increment(1);
            }
            JobEvent::Launching { runner, .. } => {
                counter!("longshore_launches_total", "runner" => text(runner)).increment(1);
                self.update(job, |times| {
                    times.queue(false);
                    if let Some(since) = times.submitted.take() {
                        histogram!("longshore_queue_duration_seconds").record(since.elapsed());
                    }
                    times.launching = Some(Instant::now());
                    times.pulling = None;
                });
            }
            JobEvent::Started { runner, .. } => self.update(job, |times| {
                if let Some(since) = times.launching.take() {
                    histogram!("longshore_launch_duration_seconds", "runner" => text(runner))
                        .record(since.elapsed());
                }
            }),
            JobEvent::Runner { runner, event } => self.progress(job, runner, event),
            JobEvent::Trouble { runner, .. } => {
                counter!("longshore_trouble_total", "runner" => text(runner)).increment(1);
            }
            JobEvent::Ended(result) => {
                ended(result);
                self.is_over(job);
            }
            JobEvent::Left { .. } | JobEvent::Stopped { .. } => self.is_over(job),
            JobEvent::Probing { .. } | JobEvent::Settling { .. } | JobEvent::Warning { .. } => {}
        }
    }

    fn runner_event(&self, runner: &RunnerName, event: &RunnerEvent) {
        let open = || gauge!("longshore_breaker_open", "runner" => text(runner));
        match event {
            RunnerEvent::Probed(probe) => {
                let result = probe.error.as_ref().map_or("ok", |error| error.kind.name());
                counter!("longshore_probes_total", "runner" => text(runner), "result" => result)
                    .increment(1);
            }
            RunnerEvent::Opened { .. } => open().set(1),
            RunnerEvent::Closed => open().set(0),
        }
    }
}

fn text(runner: &RunnerName) -> String {
    runner.to_string()
}

fn ended(result: &JobResult) {
    let runner = result.runner.as_ref().map(text).unwrap_or_default();
    let outcome = result.outcome.kind();
    counter!("longshore_jobs_ended_total", "runner" => runner.clone(), "outcome" => outcome)
        .increment(1);
    if let (Some(from), Some(to)) = (result.started_at, result.finished_at) {
        // The backend's clock may have been set back meanwhile.
        let lasted = Duration::try_from(to.duration_since(from)).unwrap_or_default();
        histogram!("longshore_run_duration_seconds", "runner" => runner, "outcome" => outcome)
            .record(lasted);
    }
}

fn describe() {
    let counters = [
        ("longshore_jobs_submitted_total", "Jobs that were submitted to this process"),
        ("longshore_jobs_taken_up_total", "Jobs that this process took up from another one"),
        ("longshore_jobs_ended_total", "Jobs that are over, by runner and outcome"),
        ("longshore_passed_over_total", "Runners that were passed over, by reason"),
        ("longshore_launches_total", "Launches, by runner"),
        ("longshore_pulls_total", "Launches that pulled an image, by runner"),
        ("longshore_probes_total", "Probes of a runner, by result"),
        ("longshore_api_requests_total", "Requests to the backend, by runner and status"),
        ("longshore_trouble_total", "Problems with a runner that change no result"),
    ];
    for (name, text) in counters {
        describe_counter!(name, Unit::Count, text);
    }
    describe_gauge!("longshore_jobs_in_flight", Unit::Count, "Jobs that this process follows");
    describe_gauge!("longshore_jobs_queued", Unit::Count, "Jobs that wait for a place");
    describe_gauge!("longshore_breaker_open", "1 while jobs pass the runner over at once, else 0");
    let histograms = [
        ("longshore_queue_duration_seconds", "From the submission to the first launch"),
        ("longshore_launch_duration_seconds", "From the launch to the start of the job"),
        ("longshore_pull_duration_seconds", "From the begin to the end of a pull"),
        ("longshore_run_duration_seconds", "From the start to the end of the job"),
    ];
    for (name, text) in histograms {
        describe_histogram!(name, Unit::Seconds, text);
    }
}

//! Time limits for each phase of a launch.

use std::time::Duration;

use longshore_core::{Error, ErrorKind, HumanDuration, ImageReason};
use tokio::time::Instant;

use crate::snapshot::Snapshot;
use crate::start_state::ImageWait;

/// What a launch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A Pod, and a node for it.
    Scheduling,
    /// The image.
    Pulling,
    /// Everything else on the node: volumes, network, the creation of the container.
    Starting,
}

/// Limits each phase of a launch, measured from the beginning of that phase. Scheduling begins when
/// the Job is released. A pull begins when the node starts to pull. The start begins when the Pod
/// gets a node, and again when the pull ends. Time spent waiting for a node is therefore not taken
/// from the time for the image.
#[derive(Debug)]
pub(crate) struct PhaseClock {
    start_timeout: Duration,
    pull_timeout: Duration,
    give_up: Instant,
    phase: Phase,
    since: Instant,
    image: Option<ImageWait>,
}

impl PhaseClock {
    /// Creates the clock of a launch that gives up at `give_up`, whatever it waits for.
    pub(crate) fn new(start_timeout: Duration, pull_timeout: Duration, give_up: Instant) -> Self {
        Self {
            start_timeout,
            pull_timeout,
            give_up,
            phase: Phase::Scheduling,
            since: Instant::now(),
            image: None,
        }
    }

    /// Records what `snapshot` waits for. `image` is the state of its image, if the launch waits
    /// for that.
    pub(crate) fn update(&mut self, snapshot: &Snapshot, image: Option<ImageWait>) {
        let scheduled = snapshot.pod().is_some_and(|observed| observed.pod.scheduled);
        let phase = match (scheduled, &image) {
            (false, _) => Phase::Scheduling,
            (true, Some(_)) => Phase::Pulling,
            (true, None) => Phase::Starting,
        };
        if phase != self.phase {
            self.phase = phase;
            self.since = Instant::now();
        }
        self.image = image;
    }

    /// Returns when the phase must be over.
    pub(crate) fn due(&self) -> Instant {
        let limit = match self.phase {
            Phase::Pulling => self.pull_timeout,
            Phase::Scheduling | Phase::Starting => self.start_timeout,
        };
        // A limit that overflows the clock is no limit.
        self.since.checked_add(limit).unwrap_or(self.give_up).min(self.give_up)
    }

    /// Returns why the launch gives up the image at once: its pull has failed and is not to be
    /// retried.
    pub(crate) fn failed_once(&self) -> Option<Error> {
        matches!(self.image, Some(ImageWait::Failing(_))).then(|| self.image_error()).flatten()
    }

    /// Returns why the image is missing, if the launch waits for the image.
    pub(crate) fn image_error(&self) -> Option<Error> {
        let (reason, message) = match self.image.as_ref()? {
            ImageWait::Failing(message) => (ImageReason::Unreachable, message.clone()),
            ImageWait::Silent => {
                let waited = HumanDuration::from_secs(self.since.elapsed().as_secs().max(1));
                let message = format!("the registry gave no answer within {waited}");
                (ImageReason::Unreachable, message)
            }
            ImageWait::WithoutLogin(reason, message) => {
                let message = format!(
                    "the registry refused the node, which had not received the job's registry \
                     login yet and did not pull again in time: {message}"
                );
                (*reason, message)
            }
        };
        Some(Error::new(ErrorKind::ImageUnavailable(reason), message))
    }

    /// Returns how long the phase has lasted.
    pub(crate) fn waited(&self) -> HumanDuration {
        HumanDuration::from_secs(self.since.elapsed().as_secs().max(1))
    }

    /// Returns the setting that limits the phase.
    pub(crate) const fn bound(&self) -> &'static str {
        match self.phase {
            Phase::Pulling => "job.pullTimeout",
            Phase::Scheduling | Phase::Starting => "job.startTimeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::time::sleep;

    use super::*;
    use crate::outcome::tests::{job, pod, snapshot};
    use crate::pod_view::PodView;

    const START: Duration = Duration::from_secs(4);
    const PULL: Duration = Duration::from_secs(60);

    fn clock() -> PhaseClock {
        PhaseClock::new(START, PULL, Instant::now() + Duration::from_secs(1000))
    }

    fn with_pod(scheduled: bool) -> Snapshot {
        let waits = pod(json!({}), "Pending", json!({}), "");
        snapshot(job(), [PodView { scheduled, ..waits }])
    }

    fn refused() -> Option<ImageWait> {
        Some(ImageWait::Failing("connection refused".to_owned()))
    }

    /// A job that asked for 900Gi with `startTimeout=4s` was still waiting after a minute.
    #[tokio::test(start_paused = true)]
    async fn a_pod_without_a_node_has_start_timeout_and_no_pull_timeout() {
        let mut clock = clock();
        let begun = Instant::now();
        clock.update(&snapshot(job(), []), None);
        sleep(Duration::from_secs(3)).await;
        clock.update(&with_pod(false), None);
        assert_eq!(clock.due(), begun + START, "the Pod itself gives no more time");
        assert_eq!(clock.bound(), "job.startTimeout");
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_own_time_from_its_beginning() {
        let mut clock = clock();
        clock.update(&with_pod(false), None);
        sleep(Duration::from_secs(3)).await;
        clock.update(&with_pod(true), Some(ImageWait::Silent));
        let pulls = Instant::now();
        assert_eq!(clock.due(), pulls + PULL);
        sleep(Duration::from_secs(30)).await;
        clock.update(&with_pod(true), refused());
        assert_eq!(clock.due(), pulls + PULL, "a failure does not begin the phase again");
        clock.update(&with_pod(true), None);
        assert_eq!(clock.due(), Instant::now() + START);
        assert!(clock.image_error().is_none(), "it is not the image that is waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_pull_is_given_up_at_once_only_where_it_has_an_answer() {
        let mut clock = clock();
        clock.update(&with_pod(true), refused());
        assert_eq!(clock.failed_once().unwrap().to_string(), "connection refused");
        clock.update(&with_pod(true), Some(ImageWait::Silent));
        assert!(clock.failed_once().is_none());
        sleep(PULL).await;
        let error = clock.image_error().unwrap();
        assert_eq!(error.kind(), ErrorKind::ImageUnavailable(ImageReason::Unreachable));
        assert_eq!(error.to_string(), "the registry gave no answer within 1m");
    }

    /// With `pullTimeout=10s`, such a job reported that the registry was unreachable.
    #[tokio::test(start_paused = true)]
    async fn a_refusal_without_the_login_is_no_unreachable_registry() {
        let mut clock = clock();
        let denied = ImageWait::WithoutLogin(ImageReason::Denied, "no credentials".to_owned());
        clock.update(&with_pod(true), Some(denied));
        assert!(clock.failed_once().is_none(), "the node pulls again with the login");
        let error = clock.image_error().unwrap();
        assert_eq!(error.kind(), ErrorKind::ImageUnavailable(ImageReason::Denied));
        assert!(error.to_string().ends_with("no credentials"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_launch_gives_up_in_time_whatever_it_waits_for() {
        let give_up = Instant::now() + Duration::from_secs(10);
        let mut clock = PhaseClock::new(START, PULL, give_up);
        clock.update(&with_pod(true), Some(ImageWait::Silent));
        assert_eq!(clock.due(), give_up);
        let clock = PhaseClock::new(Duration::MAX, PULL, give_up);
        assert_eq!(clock.due(), give_up);
    }
}

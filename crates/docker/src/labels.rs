//! The labels of a container: its owner, and all facts that another process needs to follow it and
//! to report the same result.

use std::collections::HashMap;
use std::time::Duration;

use longshore_core::{Attempt, AttemptId, HumanDuration, ImageReport, InstallationId, PullPolicy};

/// The installation that owns the container.
pub(crate) const INSTALLATION: &str = "longshore.dev/installation";
/// The job.
pub(crate) const JOB: &str = "longshore.dev/job";
/// The attempt; only on a container that runs, ran or is to run it.
pub(crate) const ATTEMPT: &str = "longshore.dev/attempt";
/// The attempt that a mark is about; see [`Mark`].
pub(crate) const MARKED: &str = "longshore.dev/marked-attempt";
const MARK: &str = "longshore.dev/mark";
/// Only on a container with a terminal.
pub(crate) const TTY: &str = "longshore.dev/tty";
const TIMEOUT: &str = "longshore.dev/timeout";
const GRACE_PERIOD: &str = "longshore.dev/grace-period";
const IMAGE: &str = "longshore.dev/image";
const IMAGE_DIGEST: &str = "longshore.dev/image-digest";
const PULL_POLICY: &str = "longshore.dev/image-pull-policy";
const PULLED: &str = "longshore.dev/image-pulled";

/// Labels as the engine returns them.
pub(crate) type Labels = HashMap<String, String>;

/// The facts about an attempt that a follower needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) timeout: Option<Duration>,
    pub(crate) grace: Duration,
    pub(crate) image: ImageReport,
}

impl Facts {
    pub(crate) fn new(attempt: &Attempt, image: ImageReport) -> Self {
        Self {
            timeout: attempt.spec.timeout.map(HumanDuration::get),
            grace: attempt.spec.effective_grace_period().get(),
            image,
        }
    }

    /// Reads the labels that [`attempt_labels`] wrote.
    pub(crate) fn read(labels: &Labels) -> Self {
        let duration = |key: &str| -> Option<Duration> {
            labels.get(key)?.parse::<HumanDuration>().ok().map(HumanDuration::get)
        };
        let policy = labels.get(PULL_POLICY).and_then(|p| p.parse().ok());
        let requested = labels.get(IMAGE).cloned().unwrap_or_default();
        let mut image = ImageReport::new(requested, policy.unwrap_or(PullPolicy::IfNotPresent));
        image.resolved = labels.get(IMAGE_DIGEST).cloned().filter(|digest| !digest.is_empty());
        image.pulled = labels.get(PULLED).and_then(|pulled| pulled.parse().ok());
        Self {
            timeout: duration(TIMEOUT),
            grace: duration(GRACE_PERIOD).unwrap_or(Duration::from_secs(10)),
            image,
        }
    }
}

/// All labels of the container of `attempt`. The job's own never replace Longshore's, and those that
/// an image has from another job (`of_image`) become empty, which means unset.
pub(crate) fn attempt_labels(attempt: &Attempt, facts: &Facts, of_image: &[String]) -> Labels {
    let mut labels: Labels = of_image.iter().map(|key| (key.clone(), String::new())).collect();
    labels.extend(attempt.spec.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    let mut ours = vec![
        (INSTALLATION, attempt.installation.to_string()),
        (JOB, attempt.job.to_string()),
        (ATTEMPT, attempt.id.to_string()),
        (GRACE_PERIOD, text(facts.grace)),
        (IMAGE, facts.image.requested.clone()),
        (PULL_POLICY, facts.image.policy.to_string()),
    ];
    ours.extend(attempt.spec.tty.then(|| (TTY, true.to_string())));
    ours.extend(facts.timeout.map(|timeout| (TIMEOUT, text(timeout))));
    ours.extend(facts.image.resolved.clone().map(|digest| (IMAGE_DIGEST, digest)));
    ours.extend(facts.image.pulled.map(|pulled| (PULLED, pulled.to_string())));
    labels.extend(ours.into_iter().map(|(key, value)| (key.to_owned(), value)));
    labels
}

/// A decision about an attempt that is final for all processes.
///
/// It is a container that never runs. The engine lets only one caller create a container with a
/// given name, so the name is a write-once register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) decision: Decision,
    /// The time between TERM and KILL, where the decision is to end the job.
    pub(crate) grace: Duration,
}

/// What a [`Mark`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The attempt has never started and never may.
    Fenced,
    /// A caller cancelled the attempt.
    Cancelled,
    /// The attempt's timeout has passed.
    Deadline,
    /// Longshore sent the attempt a signal, and decided nothing.
    Signalled,
}

impl Decision {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
            Self::Signalled => "signalled",
        }
    }
}

impl Mark {
    pub(crate) fn labels(&self, attempt: &AttemptId, owner: Option<&InstallationId>) -> Labels {
        let mut labels = Labels::from([
            (MARKED.to_owned(), attempt.to_string()),
            (MARK.to_owned(), self.decision.as_str().to_owned()),
            (GRACE_PERIOD.to_owned(), text(self.grace)),
        ]);
        labels.extend(owner.map(|owner| (INSTALLATION.to_owned(), owner.to_string())));
        labels
    }

    /// The mark that `labels` describe, if they are those of a mark.
    pub(crate) fn read(labels: &Labels) -> Option<Self> {
        let decision = match labels.get(MARK)?.as_str() {
            "fenced" => Decision::Fenced,
            "cancelled" => Decision::Cancelled,
            "deadline" => Decision::Deadline,
            "signalled" => Decision::Signalled,
            _ => return None,
        };
        Some(Self { decision, grace: Facts::read(labels).grace })
    }
}

fn text(duration: Duration) -> String {
    HumanDuration::from(duration).to_string()
}

#[cfg(test)]
mod tests {
    use longshore_core::{JobId, JobSpec};

    use super::*;

    #[test]
    fn another_process_reads_the_same_facts_from_the_labels() {
        let mut job = JobSpec::container("localhost:5000/a:1".parse().unwrap());
        job.timeout = Some(Duration::from_millis(1500).into());
        job.grace_period = Some("2m".parse().unwrap());
        let attempt = Attempt::new(InstallationId::random(), JobId::random(), 1, job);
        let mut image = ImageReport::new("localhost:5000/a:1", PullPolicy::Always);
        image.resolved = Some("sha256:0".to_owned());
        for pulled in [Some(true), Some(false), None] {
            image.pulled = pulled;
            let facts = Facts::new(&attempt, image.clone());
            assert_eq!(Facts::read(&attempt_labels(&attempt, &facts, &[])), facts);
        }
    }

    #[test]
    fn the_labels_that_an_image_has_from_another_job_are_not_this_jobs() {
        let job = JobSpec::container("localhost:5000/a:1".parse().unwrap());
        let attempt = Attempt::new(InstallationId::random(), JobId::random(), 1, job);
        let facts =
            Facts::new(&attempt, ImageReport::new("localhost:5000/a:1", PullPolicy::Always));
        let of_image = [TIMEOUT, IMAGE_DIGEST, PULLED, MARKED, MARK, ATTEMPT].map(str::to_owned);
        let labels = attempt_labels(&attempt, &facts, &of_image);
        assert_eq!(Facts::read(&labels), facts);
        assert_eq!(Mark::read(&labels), None);
        assert_eq!(labels[ATTEMPT], attempt.id.as_str());
    }

    #[test]
    fn a_mark_reads_as_it_was_written() {
        for decision in
            [Decision::Fenced, Decision::Cancelled, Decision::Deadline, Decision::Signalled]
        {
            let mark = Mark { decision, grace: Duration::from_secs(7) };
            let labels = mark.labels(&JobId::random().attempt(1), Some(&InstallationId::random()));
            assert_eq!(Mark::read(&labels), Some(mark));
            assert!(!labels.contains_key(ATTEMPT), "a mark is no attempt");
        }
        assert_eq!(Mark::read(&Labels::new()), None);
    }
}

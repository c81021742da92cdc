//! The labels and annotations that Longshore's objects carry, and the marks that stand in them.

/// Label: the installation that launched it.
pub(crate) const INSTALLATION: &str = "longshore.dev/installation";
/// Label: the job.
pub(crate) const JOB: &str = "longshore.dev/job";
/// Label: the attempt.
pub(crate) const ATTEMPT: &str = "longshore.dev/attempt";
/// Label of a Job that runs nothing and only occupies an attempt's name, so that a launch that is
/// still under way finds it taken.
pub(crate) const TOMBSTONE: &str = "longshore.dev/tombstone";
/// Annotation: a [`Commit`].
pub(crate) const COMMIT: &str = "longshore.dev/commit";
/// Annotation of a Job, and of a Pod that Longshore ends: an [`Ending`].
pub(crate) const ENDING: &str = "longshore.dev/ending";
/// Annotation: how long the job may run, as a human duration; absent without a limit.
pub(crate) const TIMEOUT: &str = "longshore.dev/timeout";
/// Annotation: the job's name for people.
pub(crate) const NAME: &str = "longshore.dev/name";
/// The label by which Kueue takes a Job, and with it `spec.suspend`
/// (<https://kueue.sigs.k8s.io/docs/tasks/run/jobs/>).
pub(crate) const KUEUE_QUEUE: &str = "kueue.x-k8s.io/queue-name";
/// The name of the container that runs the job.
pub(crate) const CONTAINER: &str = "job";
/// The name of the volume that holds the job directory.
pub(crate) const VOLUME: &str = "job";

/// How far an attempt's Job has come. Each step is a JSON patch that tests the step before, so
/// that of two that race exactly one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Suspended; may be committed or fenced.
    Open,
    /// Released: its Pod may start.
    Committed,
    /// Fenced while it was open: it can never start.
    Closed,
    /// Suspended again after the commit, to take back a Pod that had not started.
    Withdrawn,
}

impl Commit {
    /// The annotation's value.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Committed => "committed",
            Self::Closed => "closed",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The step that `text` names.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Committed, Self::Closed, Self::Withdrawn]
            .into_iter()
            .find(|step| step.as_str() == text)
    }
}

/// Why Longshore ends a job early. Set before the kill, so that whoever reads the end knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It does not.
    None,
    /// Somebody asked for it.
    Cancelled,
    /// Its timeout has passed.
    Deadline,
    /// The job's container has ended by itself, and Longshore ends what is left of its Pod, such as
    /// sidecars.
    Over,
}

impl Ending {
    /// The annotation's value.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
            Self::Over => "over",
        }
    }

    /// The mark that `text` names.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Cancelled, Self::Deadline, Self::Over]
            .into_iter()
            .find(|mark| mark.as_str() == text)
    }
}

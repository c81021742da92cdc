//! The names of Longshore's objects, labels and annotations, and the values of the marks.

/// Label: the installation that launched the object.
pub(crate) const INSTALLATION: &str = "longshore.dev/installation";
/// Label: the job.
pub(crate) const JOB: &str = "longshore.dev/job";
/// Label: the attempt.
pub(crate) const ATTEMPT: &str = "longshore.dev/attempt";
/// Label of a Job that runs nothing and only reserves an attempt's name, so that a late launch
/// finds it in use.
pub(crate) const TOMBSTONE: &str = "longshore.dev/tombstone";
/// Annotation: a [`Commit`].
pub(crate) const COMMIT: &str = "longshore.dev/commit";
/// Annotation of a Job, and of a Pod that Longshore ends: an [`Ending`].
pub(crate) const ENDING: &str = "longshore.dev/ending";
/// Annotation: how long the job may run, as a human duration; absent without a limit.
pub(crate) const TIMEOUT: &str = "longshore.dev/timeout";
/// Annotation: the job's human-readable name.
pub(crate) const NAME: &str = "longshore.dev/name";
/// The label by which Kueue takes control of a Job and its `spec.suspend`
/// (<https://kueue.sigs.k8s.io/docs/tasks/run/jobs/>).
pub(crate) const KUEUE_QUEUE: &str = "kueue.x-k8s.io/queue-name";
/// The name of the container that runs the job.
pub(crate) const CONTAINER: &str = "job";
/// The name of the volume that holds the job directory.
pub(crate) const VOLUME: &str = "job";

/// Returns the name of the objects of `attempt`, as [`longshore_core::Attempt::object_name`] does.
pub(crate) fn object_name(attempt: &str) -> String {
    format!("longshore-{attempt}")
}

/// The step that an attempt's Job has reached. Each step is a JSON patch that tests the previous
/// step, so exactly one of two concurrent patches wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Suspended; can be committed or fenced.
    Open,
    /// Released: its Pod can start.
    Committed,
    /// Fenced while it was open: it can never start.
    Closed,
    /// Suspended again after the commit, to take back a Pod that had not started.
    Withdrawn,
}

impl Commit {
    /// Returns the value of the annotation.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Committed => "committed",
            Self::Closed => "closed",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Returns the step that `text` names.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Committed, Self::Closed, Self::Withdrawn]
            .into_iter()
            .find(|step| step.as_str() == text)
    }
}

/// Why Longshore ends a job early. It is written before the kill, so that every process that reads
/// the end knows its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Longshore does not end the job early.
    None,
    /// The job was cancelled.
    Cancelled,
    /// Its timeout has passed.
    Deadline,
    /// The job's container has ended, and Longshore ends the rest of its Pod, such as sidecars.
    Over,
}

impl Ending {
    /// Returns the value of the annotation.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
            Self::Over => "over",
        }
    }

    /// Returns the mark that `text` names.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Cancelled, Self::Deadline, Self::Over]
            .into_iter()
            .find(|mark| mark.as_str() == text)
    }
}

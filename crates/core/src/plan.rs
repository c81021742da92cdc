//! What a launch would submit.

/// What a launch would submit to the backend, but for what is learnt only then. Secrets stand as
/// `***`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The form of `text`.
    pub format: PlanFormat,
    /// What would be submitted: a Job's YAML, a container's create body as JSON, or an argv.
    pub text: String,
    /// For a person: what is learnt only at launch (the digest), what will differ (merged
    /// streams), hints.
    pub notes: Vec<String>,
}

/// The form of a [`Plan`]'s text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanFormat {
    /// YAML, as `kubectl` reads it.
    Yaml,
    /// JSON, as the Docker Engine API reads it.
    Json,
    /// A command line, quoted for a POSIX shell, the environment before it.
    Argv,
}

impl Plan {
    /// A plan without notes.
    #[must_use]
    pub const fn new(format: PlanFormat, text: String) -> Self {
        Self { format, text, notes: Vec::new() }
    }
}

//! Points at which a test has this process die.

/// Where a job's way can be cut, for tests that kill the process there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailPoint {
    /// The job is on record, and nothing else was done.
    Submitted,
    /// The intent to launch is on record, and the runner was not asked.
    Intent,
    /// The runner has answered a launch, and that is not on record.
    Launched,
    /// That it was refused is on record, and the next runner was not asked.
    Refused,
    /// The start is on record.
    Started,
    /// The job has ended, and that is not on record.
    Ended,
    /// The outcome is on record, and the attempt is still on its runner.
    Outcome,
    /// The attempt was removed, and that is not on record.
    Removed,
}

impl FailPoint {
    /// Ends this process at once, without any clean-up, where `LONGSHORE_FAIL_AT` names this point,
    /// such as `Intent`. Only in builds with debug assertions; others do not look.
    pub(crate) fn reach(self) {
        if cfg!(debug_assertions)
            && std::env::var_os("LONGSHORE_FAIL_AT").is_some_and(|at| at == *format!("{self:?}"))
        {
            std::process::abort();
        }
    }
}

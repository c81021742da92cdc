//! Points at which a test makes this process die.

/// A point in a job's life at which a test can kill the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailPoint {
    /// The job is recorded, and nothing else was done.
    Submitted,
    /// The intent to launch is recorded, and the runner was not called.
    Intent,
    /// The runner has answered a launch, and the answer is not recorded.
    Launched,
    /// The refusal is recorded, and the next runner was not called.
    Refused,
    /// The start is recorded.
    Started,
    /// The job has ended, and its end is not recorded.
    Ended,
    /// The outcome is recorded, and the attempt is still on its runner.
    Outcome,
    /// The attempt was removed, and the removal is not recorded.
    Removed,
}

impl FailPoint {
    /// Ends this process at once, without any clean-up, if `LONGSHORE_FAIL_AT` names this point,
    /// such as `Intent`. Only builds with debug assertions check the variable.
    pub(crate) fn reach(self) {
        if cfg!(debug_assertions)
            && std::env::var_os("LONGSHORE_FAIL_AT").is_some_and(|at| at == *format!("{self:?}"))
        {
            std::process::abort();
        }
    }
}

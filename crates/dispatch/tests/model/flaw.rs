//! Ways to get the protocol wrong: the tests of the model.

/// One error in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A commit without an answer counts as refused.
    FallsBackWithoutTheFence,
    /// A look that finds nothing running counts as proof.
    LooksInsteadOfFencing,
    /// Nothing is recorded before a launch.
    WritesNoIntent,
    /// An attempt that ended is removed before its outcome is recorded.
    RemovesBeforeTheOutcome,
    /// Recovery launches an attempt that was about to be launched.
    RecoveryLaunchesAgain,
    /// Recovery ignores an attempt that was about to be launched.
    RecoveryLeavesAnIntent,
    /// Recovery does not check whether there is an outcome.
    RecoveryForgetsTheOutcome,
    /// The backend starts a fenced attempt.
    TheCommitIsNotGuarded,
    /// The backend does not remember the fence of an attempt that does not exist.
    TheFenceLeavesNoMark,
}

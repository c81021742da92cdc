//! Ways to get the protocol wrong: the tests of the model.

/// One thing done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A commit without an answer counts as refused.
    FallsBackWithoutTheFence,
    /// A look that finds nothing running counts as a proof.
    LooksInsteadOfFencing,
    /// Nothing is on record before a launch.
    WritesNoIntent,
    /// What ended is removed before its outcome is on record.
    RemovesBeforeTheOutcome,
    /// Recovery launches what was about to be launched.
    RecoveryLaunchesAgain,
    /// Recovery leaves what was about to be launched as it is.
    RecoveryLeavesAnIntent,
    /// Recovery does not look whether there is an outcome.
    RecoveryForgetsTheOutcome,
    /// The backend starts what is fenced.
    TheCommitIsNotGuarded,
    /// The backend remembers no fence of what is not there.
    TheFenceLeavesNoMark,
}

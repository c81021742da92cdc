//! A runner of local processes, kept in this process's memory: honest, or broken in one way, to
//! prove that the suite can be passed and that it catches each break.

mod fixture;
mod job;
mod runner;
mod tests;

/// One way in which the toy is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    AddsAFinalNewline,
    CallsALostJobASuccess,
    CallsEveryRemovalDone,
    EndsTwice,
    ForgetsItsFence,
    ForgetsThatItWasCancelled,
    ForgetsTimeouts,
    IgnoresPositions,
    KillsBeforeTheGraceIsOver,
    KillsOnlyTheFirstProcess,
    LeaksItsEnvironment,
    MixesInstallations,
    MixesStreams,
    ShowsSecrets,
    StartsTwice,
    StopsReadingEarly,
    WaitsForTheEnd,
}

//! From a container's state to an outcome. Pure.

use bollard_stubs::models::{ContainerState, ContainerStateStatusEnum as Status};
use jiff::{SignedDuration, Timestamp};
use longshore_core::{Outcome, RejectReason, StartError, start_error};

use crate::labels::{Decision, Mark};

/// How a container ended, by the engine's event or by its inspection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Death {
    pub(crate) code: i32,
    pub(crate) oom_killed: bool,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    /// Whether the code may be that of a later start, which failed.
    pub(crate) overwritten: bool,
}

/// The phase of a container's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not started; a refused start leaves its message.
    Created { refused: Option<String> },
    /// Started and not over.
    Running { started_at: Option<Timestamp> },
    /// Started more than once; the engine keeps the times and the exit code of the last run only.
    Restarted { started_at: Option<Timestamp>, starts: u32 },
    /// Ended.
    Ended(Death),
    /// Its end cannot be known, and why.
    Lost(String),
}

/// The exit code that the engine makes up for a run whose end it did not see.
pub(crate) const MADE_UP: i32 = 255;
/// The exit codes that the engine writes when a start fails. It keeps any other code of an earlier run.
const OF_FAILED_START: [i32; 3] = [126, 127, 128];
/// The exit code of a process that KILL ended, as a removal by force does.
const KILLED: i32 = 137;
/// How long an engine may take between finding such a run and setting up its networks.
const COMING_UP: SignedDuration = SignedDuration::from_secs(30);

/// Reads `State` of an inspection, and `RestartCount`, which counts the restarts that the engine's
/// own restart policy caused since a client last started the container
/// (<https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerInspect>).
///
/// A container that runs and has an end has run before. One that ended twice by hand looks as if it
/// had ended once: only the engine's events show that.
pub(crate) fn phase(state: &ContainerState, restarts: u32) -> Phase {
    let started_at = moment(state.started_at.as_deref());
    let finished_at = moment(state.finished_at.as_deref());
    let said = state.error.clone().filter(|error| !error.is_empty());
    match state.status {
        Some(Status::CREATED) => Phase::Created { refused: said },
        Some(Status::RUNNING | Status::PAUSED | Status::STOPPING) => {
            match restarts > 0 || finished_at.is_some() {
                true => Phase::Restarted { started_at, starts: (restarts + 1).max(2) },
                false => Phase::Running { started_at },
            }
        }
        // The engine counts a restart when it decides on it, after the end.
        Some(Status::RESTARTING) if restarts > 1 => {
            Phase::Restarted { started_at, starts: restarts }
        }
        Some(Status::EXITED) if restarts > 0 => {
            Phase::Restarted { started_at, starts: restarts + 1 }
        }
        Some(Status::EXITED | Status::RESTARTING) => match (started_at, state.exit_code) {
            (None, _) => Phase::Created { refused: said },
            (_, None) => Phase::Lost("the engine reports no exit code".to_owned()),
            (Some(_), Some(code)) => Phase::Ended(death(state, code, said.is_some())),
        },
        // It has ended before, or its removal has ended it.
        Some(Status::REMOVING | Status::DEAD) => match (started_at, finished_at, state.exit_code) {
            (Some(_), Some(_), Some(code)) if restarts == 0 && code != i64::from(KILLED) => {
                Phase::Ended(death(state, code, said.is_some()))
            }
            _ => Phase::Lost("the container is being removed".to_owned()),
        },
        Some(Status::EMPTY) | None => {
            Phase::Lost("the engine reports no state of the container".to_owned())
        }
    }
}

/// The end of a container that started, and ended with `code`. Its state has an error if a start of
/// another client failed after that: the engine then writes a code of its own over some codes.
fn death(state: &ContainerState, code: i64, start_failed: bool) -> Death {
    let code = i32::try_from(code).unwrap_or(i32::MAX);
    Death {
        code,
        oom_killed: state.oom_killed.unwrap_or(false),
        started_at: moment(state.started_at.as_deref()),
        finished_at: moment(state.finished_at.as_deref()),
        overwritten: start_failed && OF_FAILED_START.contains(&code),
    }
}

/// Whether the engine made up a death: when it comes up and finds that a container ended together
/// with its shim (for example because the machine went down), it records 255 and its own time. A
/// run that truly ended with 255 shortly before counts as made up, too: lost is better than wrong.
pub(crate) fn is_made_up(death: &Death, came_up: Timestamp) -> bool {
    death.code == MADE_UP && is_shortly_before(death, came_up)
}

/// Whether a death was shortly before the engine came up, at `came_up`: at about the time when it
/// went down or began to come up. The creation time of the engine's default network is the time
/// when it came up, because the engine creates that network at each start.
pub(crate) fn is_shortly_before(death: &Death, came_up: Timestamp) -> bool {
    death.finished_at.is_some_and(|finished| {
        let after = came_up.duration_since(finished);
        after >= SignedDuration::ZERO && after <= COMING_UP
    })
}

/// Whether a run had ended when the engine came up, at `came_up`.
pub(crate) fn is_before(death: &Death, came_up: Timestamp) -> bool {
    death.finished_at.is_some_and(|finished| finished <= came_up)
}

/// Parses a time of the engine; `0001-01-01T00:00:00Z` is Go's "never".
pub(crate) fn moment(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok().filter(|at: &Timestamp| *at > Timestamp::UNIX_EPOCH)
}

/// What a death means, given the mark on the attempt.
///
/// The engine's OOM mark is set as soon as any process of the container was killed; only with
/// code 137 was it the job itself.
pub(crate) fn outcome(death: &Death, mark: Option<Mark>) -> Outcome {
    let code = death.code;
    match mark.map(|mark| mark.decision) {
        Some(Decision::Cancelled) => Outcome::Cancelled { code: Some(code) },
        Some(Decision::Deadline) => Outcome::DeadlineExceeded { code: Some(code) },
        _ if death.oom_killed && code == 137 => Outcome::OutOfMemory { code },
        _ => Outcome::Exited { code, signal: None },
    }
}

/// The outcome of a run that another client of the engine sent `signal` before its end with `code`.
/// It is `Lost`: whether the job ended because of the signal cannot be known, and a handler of the
/// signal may exit with any code.
pub(crate) fn stopped(signal: u32, code: i32) -> Outcome {
    Outcome::Lost {
        message: format!(
            "another client of the engine sent the container signal {signal} (docker stop, kill or \
             restart): its exit code {code} is not the job's own"
        ),
    }
}

/// The outcome of a job whose exit code a failed start may have overwritten with `code`.
pub(crate) fn overwritten(code: i32) -> Outcome {
    Outcome::Lost {
        message: format!(
            "another client of the engine tried to start the container again, which failed: the exit \
             code {code} may be that of the failure"
        ),
    }
}

/// The outcome of a job whose first end is not known, because its container started `starts` times.
pub(crate) fn restarted(starts: u32) -> Outcome {
    Outcome::Lost {
        message: format!(
            "the container was restarted: it started {starts} times, and the engine keeps only the \
             last exit code"
        ),
    }
}

/// Why the init could not execute the command, if its message is all the job's output.
pub(crate) fn init_refusal(code: i32, stderr: &str) -> Option<RejectReason> {
    let line = stderr.trim();
    let by_init =
        line.starts_with("[FATAL tini (") && line.contains("] exec ") && !line.contains('\n');
    match start_error(line) {
        StartError::Job(reason) if by_init && (code == 126 || code == 127) => Some(reason),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const AT: &str = "2026-11-23T18:27:00.244335866Z";
    const NEVER: &str = "0001-01-01T00:00:00Z";

    fn state(status: Status, code: i64, started: &str, finished: &str) -> ContainerState {
        ContainerState {
            status: Some(status),
            exit_code: Some(code),
            started_at: Some(started.to_owned()),
            finished_at: Some(finished.to_owned()),
            ..ContainerState::default()
        }
    }

    #[test]
    fn a_containers_state_tells_where_it_is_in_its_life() {
        let at = Some(AT.parse().unwrap());
        let death = Death { code: 3, started_at: at, finished_at: at, ..Death::default() };
        for (given, expected) in [
            (state(Status::CREATED, 0, NEVER, NEVER), Phase::Created { refused: None }),
            (state(Status::RUNNING, 0, AT, NEVER), Phase::Running { started_at: at }),
            (state(Status::PAUSED, 0, AT, NEVER), Phase::Running { started_at: at }),
            (state(Status::EXITED, 3, AT, AT), Phase::Ended(death)),
        ] {
            assert_eq!(phase(&given, 0), expected);
        }
        for gone in [
            state(Status::REMOVING, 0, NEVER, NEVER),
            state(Status::REMOVING, 137, AT, AT),
            state(Status::DEAD, 137, AT, AT),
            ContainerState::default(),
        ] {
            assert!(matches!(phase(&gone, 0), Phase::Lost(_)), "{gone:?}");
        }
    }

    /// The end of a job whose container was being removed, or could not be, was said to be unknown.
    #[test]
    fn the_end_of_a_container_that_is_removed_after_it_is_known() {
        let at = Some(AT.parse().unwrap());
        for status in [Status::REMOVING, Status::DEAD] {
            let death = Death { code: 3, started_at: at, finished_at: at, ..Death::default() };
            assert_eq!(phase(&state(status, 3, AT, AT), 0), Phase::Ended(death));
        }
    }

    /// A job that had ended with 0 ended with 128, because a later `docker start` had failed.
    #[test]
    fn a_code_that_a_failed_start_may_have_written_is_not_trusted() {
        let of = |code| {
            let mut state = state(Status::EXITED, code, AT, AT);
            state.error = Some("network x not found".to_owned());
            match phase(&state, 0) {
                Phase::Ended(death) => death.overwritten,
                phase => panic!("{phase:?}"),
            }
        };
        assert_eq!([0, 3, 126, 127, 128].map(of), [false, false, true, true, true]);
    }

    #[test]
    fn a_container_that_was_restarted_is_not_taken_for_one_that_runs_or_ended_once() {
        let started_at = Some(AT.parse().unwrap());
        let again = |starts| Phase::Restarted { started_at, starts };
        let first = Phase::Ended(Death {
            code: 3,
            started_at,
            finished_at: started_at,
            ..Death::default()
        });
        for (given, restarts, expected) in [
            // By hand; by the restart policy, as seen on 20.10 and 29.
            (state(Status::RUNNING, 0, AT, AT), 0, again(2)),
            (state(Status::RUNNING, 0, AT, AT), 1, again(2)),
            (state(Status::PAUSED, 0, AT, AT), 3, again(4)),
            (state(Status::EXITED, 3, AT, AT), 2, again(3)),
            (state(Status::RESTARTING, 3, AT, AT), 2, again(2)),
            // Waits for its first restart: the exit code is that of the first run.
            (state(Status::RESTARTING, 3, AT, AT), 1, first),
        ] {
            assert_eq!(phase(&given, restarts), expected, "{given:?} {restarts}");
        }
    }

    #[test]
    fn a_255_that_the_engine_wrote_while_it_came_up_is_made_up() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        // Seen on 20.10 after the engine and all its helpers were killed and it came up again.
        let finished_at = Some(at("2026-11-23T19:09:38.270426118Z"));
        let came_up = at("2026-11-23T19:09:39.18052009Z");
        let death = |code| Death { code, finished_at, ..Death::default() };
        assert!(is_made_up(&death(255), came_up));
        assert!(is_before(&death(0), came_up) && !is_before(&death(0), at("2026-11-23T19:09:38Z")));
        assert!(!is_made_up(&death(143), came_up) && is_shortly_before(&death(143), came_up));
        assert!(!is_made_up(&death(255), at("2026-11-23T19:09:00Z")), "it was up before");
        assert!(!is_made_up(&death(255), at("2026-11-23T21:00:00Z")), "it came up long after");
    }

    #[test]
    fn a_death_is_told_by_its_mark_the_oom_mark_and_its_code() {
        let mark = |decision| Some(Mark { decision, grace: Duration::from_secs(1) });
        let exited = |code| Outcome::Exited { code, signal: None };
        for (code, oom_killed, mark, expected) in [
            (0, false, None, exited(0)),
            (137, false, None, exited(137)),
            (137, true, None, Outcome::OutOfMemory { code: 137 }),
            (0, true, None, exited(0)),
            (1, true, None, exited(1)),
            (255, false, None, exited(255)),
            (143, false, mark(Decision::Cancelled), Outcome::Cancelled { code: Some(143) }),
            (137, false, mark(Decision::Deadline), Outcome::DeadlineExceeded { code: Some(137) }),
            (0, false, mark(Decision::Fenced), exited(0)),
        ] {
            let death = Death { code, oom_killed, ..Death::default() };
            assert_eq!(outcome(&death, mark), expected);
        }
    }

    #[test]
    fn only_the_inits_own_words_are_a_refusal() {
        let said = "[FATAL tini (7)] exec nope failed: No such file or directory\n";
        assert_eq!(init_refusal(127, said), Some(RejectReason::CommandNotFound));
        let said = "[FATAL tini (7)] exec /etc failed: Permission denied\n";
        assert_eq!(init_refusal(126, said), Some(RejectReason::CommandNotExecutable));
        assert_eq!(init_refusal(1, said), None);
        assert_eq!(init_refusal(127, "sh: nope: not found\n"), None);
        assert_eq!(init_refusal(127, &format!("hello\n{said}")), None);
    }
}

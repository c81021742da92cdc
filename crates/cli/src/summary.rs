//! The result of a job, for a person.

use longshore::image::ImageRef;
use longshore::job::{NotRunReason, PassedOver, RejectReason};
use longshore::runner::RunnerName;
use longshore::{JobId, JobResult, Outcome};

use crate::job_args::JobArgs;
use crate::output;

/// A shell's exit code for a command that it does not find.
const COMMAND_NOT_FOUND: i32 = 127;
/// A likely cause of that code, and its remedy.
const ENVIRONMENT: &str = "a local process has only PATH, HOME, USER, LANG and a few other variables \
                           of this command's environment: pass others with --env NAME or \
                           --inherit-env NAME";

/// Prints the result of a job, which took `seconds`, if that is known. With `quiet`, prints only why
/// a job did not end on its own.
pub fn say(result: &JobResult, seconds: Option<f64>, quiet: bool) {
    let expected = matches!(result.outcome, Outcome::Exited { .. } | Outcome::Cancelled { .. });
    if quiet && expected {
        // Quiet drops the summary, never an error.
        result.stdin_error.iter().for_each(|reason| output::say(&incomplete(reason)));
        return;
    }
    for line in summary(result, seconds) {
        output::say(&line);
    }
}

/// Returns a line that a runner was passed over, and why.
pub fn passed_over(passed: &PassedOver) -> String {
    format!("passed over {} ({}): {}", passed.runner, passed.kind, passed.message)
}

/// Returns how long the job ran, by the backend's clock.
pub fn seconds_run(result: &JobResult) -> Option<f64> {
    let (started, finished) = result.started_at.zip(result.finished_at)?;
    Some(finished.duration_since(started).as_secs_f64())
}

/// Reports that the job was submitted before.
pub fn say_known(id: &JobId) {
    output::say(&format!("the idempotency key belongs to job {id}, which was submitted before"));
}

/// Returns the exit code of the command. Like that of a shell, an exit status has eight bits.
pub const fn exit_code(result: &JobResult) -> u8 {
    (result.outcome.exit_code() & 0xff) as u8
}

/// Says what the first word of the command may have been meant as, if no such command exists.
pub fn say_misread(result: &JobResult, args: &JobArgs) {
    let not_found =
        matches!(result.outcome, Outcome::Rejected { reason: RejectReason::CommandNotFound, .. });
    let word = args.args.first().filter(|_| not_found && args.image.is_none());
    if let Some(hint) = word.and_then(|word| misread(word)) {
        output::say(&hint);
    }
}

/// Returns what `word`, which is no command, may have been meant as.
fn misread(word: &str) -> Option<String> {
    let is_variable = |(name, _): (&str, &str)| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if word.split_once('=').is_some_and(is_variable) {
        return Some(format!("a variable is set by an option before the command: --env {word}"));
    }
    if word.contains(char::is_whitespace) {
        return Some(format!(
            "`{word}` is one word: leave its quotes out, or let a shell split it: sh -c '{word}'"
        ));
    }
    let is_image = word.contains(':') && word.parse::<ImageRef>().is_ok();
    is_image.then(|| format!("an image is named by an option before the command: --image {word}"))
}

/// Whether a variable that the job does not have may be why a command was not found: by a program of the
/// job, or in its PATH.
fn lacks_a_command(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Rejected { reason: RejectReason::CommandNotFound, message } => {
            message.contains("PATH")
        }
        other => other.exit_code() == COMMAND_NOT_FOUND,
    }
}

fn incomplete(reason: &str) -> String {
    format!("the job may have received only a part of its stdin: {reason}")
}

/// Returns whether the text of an outcome ends with the backend's words. They would seem to contain a
/// time after them.
const fn ends_in_a_reason(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::ImageUnavailable { .. }
            | Outcome::Rejected { .. }
            | Outcome::Evicted { .. }
            | Outcome::Lost { .. }
            | Outcome::NotRun { .. }
    )
}

/// Returns whether the outcome of a job repeats why each runner was passed over.
const fn nobody_took(result: &JobResult) -> bool {
    matches!(result.outcome, Outcome::NotRun { reason: NotRunReason::NoRunner, .. })
        && !result.passed_over.is_empty()
}

fn summary(result: &JobResult, seconds: Option<f64>) -> Vec<String> {
    let mut lines: Vec<String> = result.passed_over.iter().map(passed_over).collect();
    let after = seconds
        .filter(|_| !ends_in_a_reason(&result.outcome))
        .map_or_else(String::new, |seconds| format!(" after {seconds:.2} s"));
    lines.push(match &result.runner {
        Some(runner) => format!("{runner}: the job {}{after}", result.outcome),
        // The lines above have the reasons.
        None if nobody_took(result) => "the job was not run: no runner took it".to_owned(),
        None => format!("the job {}", result.outcome),
    });
    let local = result.runner.as_ref() == Some(&RunnerName::process());
    if local && lacks_a_command(&result.outcome) {
        lines.push(ENVIRONMENT.to_owned());
    }
    if let (Some(runner), false) = (&result.runner, result.started_again.is_empty()) {
        let again = result.started_again.join(", ");
        lines.push(format!("{runner} started the job again on its own: {again}"));
    }
    lines.extend(result.stdin_error.as_deref().map(incomplete));
    let stale = result.image.as_ref().filter(|image| image.stale);
    lines.extend(stale.map(|image| {
        format!(
            "{}: the registry did not answer: a local copy was used, which may be outdated",
            image.requested
        )
    }));
    lines
}

#[cfg(test)]
mod tests {
    use longshore::job::RejectReason;
    use longshore::runner::ErrorKind;

    use super::*;

    #[test]
    fn a_copy_that_may_be_old_is_said() {
        let result = |stale: bool| {
            let json = serde_json::json!({
                "job": "j", "attempt": "j-2", "runner": "docker",
                "outcome": {"kind": "Exited", "code": 0},
                "image": {
                    "requested": "x:1", "resolved": null, "policy": "IfNotPresent",
                    "pulled": false, "stale": stale,
                },
                "separateStreams": true,
                "passedOver": [
                    {"runner": "kubernetes", "kind": "Unavailable", "message": "refused"},
                ],
                "startedAt": null, "finishedAt": null,
            });
            serde_json::from_value::<JobResult>(json).unwrap()
        };
        let lines = [
            "passed over kubernetes (Unavailable): refused",
            "docker: the job exited with code 0 after 1.50 s",
            "x:1: the registry did not answer: a local copy was used, which may be outdated",
        ];
        assert_eq!(summary(&result(true), Some(1.5)), lines);
        assert_eq!(summary(&result(false), Some(1.5)), lines[..2]);
    }

    #[test]
    fn a_command_that_does_not_exist_may_have_been_meant_as_something_else() {
        for (word, hint) in [
            ("A=1", Some("--env A=1")),
            ("echo hi", Some("sh -c 'echo hi'")),
            ("busybox:1.37", Some("--image busybox:1.37")),
            ("registry.example:5000/team/tool", Some("--image registry.example:5000/team/tool")),
            ("busybox", None),
            ("./script.sh", None),
            ("=", None),
        ] {
            let said = misread(word);
            assert!(said.is_some() == hint.is_some(), "{word}: {said:?}");
            assert!(said.unwrap_or_default().contains(hint.unwrap_or_default()), "{word}");
        }
        let rejected = |message: &str| {
            let message = message.to_owned();
            Outcome::Rejected { reason: RejectReason::CommandNotFound, message }
        };
        assert!(lacks_a_command(&rejected("`x` is not in the job's PATH (/bin)")));
        assert!(!lacks_a_command(&rejected("its interpreter `/nope` does not exist")));
    }

    #[test]
    fn that_the_backend_started_a_job_again_is_said() {
        let outcome = Outcome::Exited { code: 0, signal: None };
        let mut result = JobResult::new("j".parse().unwrap(), outcome);
        result.runner = Some("kubernetes".parse().unwrap());
        result.started_again = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(
            summary(&result, None),
            [
                "kubernetes: the job exited with code 0",
                "kubernetes started the job again on its own: a, b",
            ]
        );
    }

    #[test]
    fn each_reason_why_no_runner_took_a_job_was_said_twice() {
        let message = "no runner took it: docker: there is no engine".to_owned();
        let outcome = Outcome::NotRun { reason: NotRunReason::NoRunner, message };
        let mut result = JobResult::new("j".parse().unwrap(), outcome);
        assert_eq!(
            summary(&result, None),
            ["the job was not run: no runner took it: docker: there is no engine"]
        );
        let error = longshore::Error::new(ErrorKind::Unavailable, "there is no engine");
        result.passed_over.push(PassedOver::new(&RunnerName::docker(), &error));
        assert_eq!(
            summary(&result, None),
            [
                "passed over docker (Unavailable): there is no engine",
                "the job was not run: no runner took it",
            ]
        );
    }

    #[test]
    fn the_time_was_read_as_a_part_of_the_backends_reason() {
        let message = "no such command".to_owned();
        let outcome = Outcome::Rejected { reason: RejectReason::CommandNotFound, message };
        let result = JobResult::new("j".parse().unwrap(), outcome);
        assert_eq!(
            summary(&result, Some(0.56)),
            ["the job could not be started (CommandNotFound): no such command"]
        );
    }

    #[test]
    fn the_time_that_a_job_took_is_told_where_it_is_known() {
        let mut result = JobResult::new("j".parse().unwrap(), Outcome::Cancelled { code: None });
        result.runner = Some("process".parse().unwrap());
        assert_eq!(seconds_run(&result), None);
        assert_eq!(summary(&result, seconds_run(&result)), ["process: the job was cancelled"]);
        result.started_at = Some("2026-01-01T00:00:00.5Z".parse().unwrap());
        result.finished_at = Some("2026-01-01T00:01:01Z".parse().unwrap());
        assert_eq!(
            summary(&result, seconds_run(&result)),
            ["process: the job was cancelled after 60.50 s"]
        );
    }
}

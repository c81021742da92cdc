//! Attempts on another engine than the one that is asked.

use std::env;

use futures::StreamExt;
use longshore_core::{
    AttachSpec, Attempt, ErrorKind, Event, ExecSpec, LaunchContext, LaunchError, LogPosition,
    Outcome, Runner, RunnerName, Signal,
};
use longshore_docker::{DockerConfig, DockerRunner};
use tokio::time::{Duration, Instant, timeout};

use crate::support::Lab;
use crate::{Checked, PATIENCE, attempt, end, launch};

/// The variable with the address of the second engine.
pub(crate) const OTHER: &str = "LONGSHORE_LAB_DOCKER29_HOST";

/// A runner for the lab's second engine.
fn other() -> DockerRunner {
    let mut config = DockerConfig::default();
    config.host = env::var(OTHER).ok();
    DockerRunner::new(RunnerName::docker(), config)
}

/// An attempt of `script` as the dispatcher records it for `runner`.
async fn recorded(lab: &Lab, runner: &DockerRunner, script: &str) -> Attempt {
    let mut attempt = attempt(lab, script);
    attempt.target = runner.target().await;
    attempt
}

/// `DOCKER_HOST` named another engine in the next process, whose 404 was taken for proof: the job was
/// lost, or had never started and was started again.
pub(crate) async fn a_job_is_not_asked_for_on_an_engine_where_it_never_was(lab: Lab) -> Checked {
    let (here, there) = (lab.runner(), other());
    let attempt = recorded(&lab, &here, "sleep 600").await;
    let handle = launch(&here, &attempt).await?;
    let deadline = Instant::now() + PATIENCE;
    let errors = [
        there.settle(&handle, deadline).await.err(),
        there.cancel(&handle, Duration::ZERO).await.err(),
        there.signal(&handle, Signal::TERM).await.err(),
        there.remove(&handle).await.err(),
        there.stdin(&handle).await.err(),
        there.exec(&handle, &ExecSpec::new(["true"])).await.err(),
        there.attach(&handle, &AttachSpec::default()).await.err(),
        there.reach(&handle).await.err(),
        timeout(PATIENCE, there.events(&handle).next()).await?.and_then(Result::err),
        timeout(PATIENCE, there.logs(&handle, LogPosition::START, false).next())
            .await?
            .and_then(Result::err),
    ];
    for (call, error) in errors.into_iter().enumerate() {
        let error = error.ok_or(format!("call {call} succeeded"))?;
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{call}: {error}");
        let said = error.to_string();
        assert!(said.contains("the job is on the Docker engine at unix://"), "{call}: {said}");
    }
    here.reach(&handle).await?;
    here.cancel(&handle, Duration::ZERO).await?;
    let outcome = end(&here, &handle).await?.outcome;
    assert!(matches!(outcome, Outcome::Cancelled { .. }), "{outcome:?}");
    here.remove(&handle).await?;
    assert_eq!(lab.leftovers(&[attempt.installation]).await?, [""; 0]);
    Ok(())
}

/// The events of a job on another engine give hints, and no end.
pub(crate) async fn the_events_of_a_job_on_another_engine_have_no_end(lab: Lab) -> Checked {
    let attempt = recorded(&lab, &lab.runner(), "true").await;
    let there = other();
    let handle = there.handle(&attempt);
    let hints: Vec<_> = timeout(PATIENCE, there.events(&handle).take(3).collect()).await?;
    for hint in hints {
        let ended = matches!(hint, Ok(Event::Ended(_)));
        assert!(!ended && hint.is_err(), "{hint:?}");
    }
    Ok(())
}

/// The current context changed between the record of an attempt and its launch.
pub(crate) async fn an_attempt_is_not_launched_on_another_engine_than_recorded(
    lab: Lab,
) -> Checked {
    let attempt = recorded(&lab, &lab.runner(), "true").await;
    let context = LaunchContext::new(Instant::now() + PATIENCE);
    let launched = other().launch(&attempt, &context).await;
    let Err(LaunchError::Refused(error)) = launched else {
        return Err(format!("{launched:?}").into());
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    Ok(())
}

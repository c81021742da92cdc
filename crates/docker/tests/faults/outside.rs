//! What other clients of the engine do to a job's container: stop, signal, pause, rename, update.

use std::time::Duration;

use bollard::models::ContainerUpdateBody;
use bollard::query_parameters::{
    KillContainerOptionsBuilder, RenameContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use futures::StreamExt;
use longshore_core::{Attempt, Handle, LogPosition, Outcome, Runner};
use longshore_docker::DockerRunner;
use tokio::time::timeout;

use crate::support::Lab;
use crate::{Checked, PATIENCE, attempt, end, launch};

type Tried<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Launches `script` and waits for its first output.
pub(crate) async fn ready(
    lab: &Lab,
    runner: &DockerRunner,
    script: &str,
) -> Tried<(Attempt, Handle)> {
    let attempt = attempt(lab, script);
    let handle = launch(runner, &attempt).await?;
    let mut logs = runner.logs(&handle, LogPosition::START, true);
    timeout(PATIENCE, logs.next()).await?.ok_or("no output")??;
    Ok((attempt, handle))
}

/// Waits until the container of `attempt` has ended.
async fn ended(lab: &Lab, attempt: &Attempt) -> Checked {
    let mut ended = lab.docker.wait_container(&attempt.object_name(), None);
    // The client reports an exit code other than 0 as an error.
    let _ = timeout(PATIENCE, ended.next()).await?.ok_or("no end")?;
    Ok(())
}

/// The outcomes for the follower that heard all, and for one that comes after the end.
async fn outcomes(lab: &Lab, runner: &DockerRunner, handle: &Handle) -> Tried<[Outcome; 2]> {
    let heard = end(runner, handle).await?.outcome;
    let later = end(&lab.runner(), handle).await?.outcome;
    runner.remove(handle).await?;
    Ok([heard, later])
}

const TRAP: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done";

pub(crate) async fn a_job_that_docker_stop_ends_is_lost_though_it_exits_with_0(
    lab: Lab,
) -> Checked {
    let runner = lab.runner();
    let (attempt, handle) = ready(&lab, &runner, TRAP).await?;
    let stop = StopContainerOptionsBuilder::default().t(30).build();
    lab.docker.stop_container(&attempt.object_name(), Some(stop)).await?;
    for outcome in outcomes(&lab, &runner, &handle).await? {
        assert!(matches!(outcome, Outcome::Lost { .. }), "{outcome:?}");
        let text = outcome.to_string();
        assert!(text.contains("signal 15") && text.contains("exit code 0"), "{text}");
    }
    Ok(())
}

pub(crate) async fn a_job_that_a_notifying_signal_reaches_keeps_its_own_code(lab: Lab) -> Checked {
    let runner = lab.runner();
    let script = "trap 'exit 3' USR1; echo ready; while :; do sleep 0.1; done";
    let (attempt, handle) = ready(&lab, &runner, script).await?;
    let signal = KillContainerOptionsBuilder::default().signal("USR1").build();
    lab.docker.kill_container(&attempt.object_name(), Some(signal)).await?;
    ended(&lab, &attempt).await?;
    for outcome in outcomes(&lab, &runner, &handle).await? {
        assert_eq!(outcome, Outcome::Exited { code: 3, signal: None });
    }
    Ok(())
}

pub(crate) async fn a_job_that_others_pause_rename_and_update_keeps_its_own_code(
    lab: Lab,
) -> Checked {
    let runner = lab.runner();
    let script = "trap 'exit 5' USR1; echo ready; while :; do sleep 0.1; done";
    let (attempt, handle) = ready(&lab, &runner, script).await?;
    let (name, other) = (attempt.object_name(), format!("renamed-{}", attempt.id));
    lab.docker.pause_container(&name).await?;
    lab.docker.unpause_container(&name).await?;
    let body = ContainerUpdateBody { pids_limit: Some(100), ..ContainerUpdateBody::default() };
    lab.docker.update_container(&name, body).await?;
    let rename = RenameContainerOptionsBuilder::default().name(&other).build();
    lab.docker.rename_container(&name, rename).await?;
    let signal = KillContainerOptionsBuilder::default().signal("USR1").build();
    lab.docker.kill_container(&other, Some(signal)).await?;
    for outcome in outcomes(&lab, &runner, &handle).await? {
        assert_eq!(outcome, Outcome::Exited { code: 5, signal: None });
    }
    assert_eq!(lab.leftovers(&[attempt.installation]).await?, [""; 0]);
    Ok(())
}

pub(crate) async fn a_job_that_another_client_paused_is_cancelled(lab: Lab) -> Checked {
    let runner = lab.runner();
    let (attempt, handle) = ready(&lab, &runner, "echo ready; exec sleep 600").await?;
    lab.docker.pause_container(&attempt.object_name()).await?;
    lab.runner().cancel(&handle, Duration::from_secs(1)).await?;
    for outcome in outcomes(&lab, &runner, &handle).await? {
        assert!(matches!(outcome, Outcome::Cancelled { .. }), "{outcome:?}");
    }
    Ok(())
}

//! Answers and states of the engine that prove less than they seem to.

use std::collections::HashMap;

use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::{
    RemoveContainerOptionsBuilder, StartContainerOptions, WaitContainerOptions,
};
use futures::StreamExt;
use longshore_core::{Attempt, LaunchContext, Outcome, Runner, RunnerName, Settled};
use longshore_docker::{DockerConfig, DockerRunner};
use tokio::time::{Instant, timeout};

use super::wire::Wire;
use crate::support::Lab;
use crate::{Checked, PATIENCE, attempt, end, launch};

/// Waits until the container of `attempt` exists and has ended.
async fn ended(lab: &Lab, attempt: &Attempt) -> Checked {
    let name = attempt.object_name();
    let created = HashMap::from([
        ("container".to_owned(), vec![name.clone()]),
        ("event".to_owned(), vec!["die".to_owned()]),
    ]);
    let options = bollard::query_parameters::EventsOptionsBuilder::default()
        .since("1")
        .filters(&created)
        .build();
    let mut events = lab.docker.events(Some(options));
    timeout(PATIENCE, events.next()).await?.ok_or("no end")??;
    // The event is a little earlier than the state.
    let _ =
        timeout(PATIENCE, lab.docker.wait_container(&name, None::<WaitContainerOptions>).next())
            .await?;
    Ok(())
}

/// A plugin of the engine looks at its answers too, and may refuse one after the container has started.
/// The job ran, and the next runner ran it again.
pub(crate) async fn a_start_whose_answer_is_refused_is_no_refused_start(lab: Lab) -> Checked {
    let wire = Wire::answering(
        "/start",
        "HTTP/1.1 500 Internal Server Error\r\nApi-Version: 1.41\r\nContent-Length: 40\r\n\r\n\
         {\"message\":\"plugin x: authz: timed out\"}",
    )?;
    let (runner, attempt) = (wire.runner(), attempt(&lab, "exit 7"));
    let context = LaunchContext::new(Instant::now() + PATIENCE);
    let released = async {
        let ended = ended(&lab, &attempt).await;
        wire.release();
        ended
    };
    let (launched, released) = tokio::join!(runner.launch(&attempt, &context), released);
    released?;
    let handle = launched?.handle;
    let runner = lab.runner();
    assert_eq!(end(&runner, &handle).await?.outcome, Outcome::Exited { code: 7, signal: None });
    runner.remove(&handle).await?;
    assert_eq!(lab.leftovers(&[attempt.installation]).await?, [""; 0]);
    Ok(())
}

/// Somebody ran `docker container prune` after a job had ended whose start was not on record. The name
/// was free, which was taken for the proof that the job had never started.
pub(crate) async fn a_container_that_others_removed_has_started(lab: Lab) -> Checked {
    let (runner, attempt) = (lab.runner(), attempt(&lab, "true"));
    let handle = launch(&runner, &attempt).await?;
    ended(&lab, &attempt).await?;
    let force = RemoveContainerOptionsBuilder::default().force(true).build();
    lab.docker.remove_container(&attempt.object_name(), Some(force)).await?;
    let later = lab.runner();
    for _ in 0..2 {
        let settled = later.settle(&handle, Instant::now() + PATIENCE).await?;
        assert_eq!(settled, Settled::MayHaveStarted);
    }
    Ok(later.remove(&handle).await?)
}

/// Somebody tried to start the container of a job that had ended with 0. The engine could not, and wrote
/// the exit code 128.
pub(crate) async fn a_start_of_others_that_fails_does_not_change_the_outcome(lab: Lab) -> Checked {
    let network = format!("docker-evidence-{}", std::process::id());
    let body = NetworkCreateRequest { name: network.clone(), ..NetworkCreateRequest::default() };
    lab.docker.create_network(body).await?;
    let mut config = DockerConfig::default();
    config.network = Some(network.clone());
    let runner = DockerRunner::new(RunnerName::docker(), config);
    let attempt = attempt(&lab, "true");
    let handle = launch(&runner, &attempt).await?;
    ended(&lab, &attempt).await?;
    lab.docker.remove_network(&network).await?;
    let name = attempt.object_name();
    let started = lab.docker.start_container(&name, None::<StartContainerOptions>).await;
    assert!(started.is_err(), "the network is gone");
    let state = lab.docker.inspect_container(&name, None).await?.state.ok_or("no state")?;
    assert_eq!(state.exit_code, Some(128), "{state:?}");
    let outcome = end(&lab.runner(), &handle).await?.outcome;
    assert_eq!(outcome, Outcome::Exited { code: 0, signal: None });
    Ok(runner.remove(&handle).await?)
}

//! Containers that have a job's labels but are not the job's.

use std::collections::HashMap;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    RenameContainerOptionsBuilder,
};
use longshore_core::{Attempt, Outcome, Runner, Settled};
use tokio::time::Instant;

use super::outside::ready;
use crate::support::Lab;
use crate::{Checked, PATIENCE, attempt, end, launch, output};

type Tried<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Starts a container with all labels of the attempt's container, as one of an image that was
/// committed from it has.
async fn forge(lab: &Lab, attempt: &Attempt) -> Tried<String> {
    let genuine = lab.docker.inspect_container(&attempt.object_name(), None).await?;
    let name = format!("stranger-{}", attempt.id);
    let body = ContainerCreateBody {
        image: Some(lab.image.canonical()),
        cmd: Some(["sh", "-c", "echo stranger; exec sleep 600"].map(str::to_owned).to_vec()),
        labels: genuine.config.and_then(|config| config.labels),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    lab.docker.create_container(Some(options), body).await?;
    lab.docker.start_container(&name, None).await?;
    Ok(name)
}

async fn runs(lab: &Lab, name: &str) -> Tried<bool> {
    let filters = HashMap::from([("name".to_owned(), vec![name.to_owned()])]);
    let options = ListContainersOptionsBuilder::default().filters(&filters).build();
    Ok(!lab.docker.list_containers(Some(options)).await?.is_empty())
}

async fn clean(lab: &Lab, name: &str) -> Checked {
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    Ok(lab.docker.remove_container(name, Some(options)).await?)
}

pub(crate) async fn a_container_with_forged_labels_is_neither_followed_nor_adopted_nor_removed(
    lab: Lab,
) -> Checked {
    let runner = lab.runner();
    let script = "trap 'exit 3' USR1; echo ready; while :; do sleep 0.1; done";
    let (attempt, handle) = ready(&lab, &runner, script).await?;
    let stranger = forge(&lab, &attempt).await?;
    // The stranger's start and end are not the job's.
    lab.docker.restart_container(&stranger, None).await?;
    let fresh = lab.runner();
    let adopted = fresh.adopt(&attempt.installation).await?;
    let adopted: Vec<_> = adopted.into_iter().map(|handle| handle.attempt).collect();
    assert_eq!(adopted, std::slice::from_ref(&handle.attempt), "the genuine one, once");
    let signal = bollard::query_parameters::KillContainerOptionsBuilder::default().signal("USR1");
    lab.docker.kill_container(&attempt.object_name(), Some(signal.build())).await?;
    for runner in [&runner, &fresh] {
        let report = end(runner, &handle).await?;
        assert_eq!(report.outcome, Outcome::Exited { code: 3, signal: None });
        assert!(report.started_again.is_empty(), "{report:?}");
        assert_eq!(output(runner, &handle).await?, "ready\n");
    }
    runner.remove(&handle).await?;
    // The genuine one is gone.
    let fresh = lab.runner();
    assert_eq!(fresh.adopt(&attempt.installation).await?, []);
    let outcome = end(&fresh, &handle).await?.outcome;
    assert!(matches!(outcome, Outcome::Lost { .. }), "{outcome:?}");
    fresh.remove(&handle).await?;
    assert!(runs(&lab, &stranger).await?, "the stranger was removed");
    clean(&lab, &stranger).await
}

pub(crate) async fn a_renamed_container_whose_labels_a_stranger_has_is_the_one_that_is_removed(
    lab: Lab,
) -> Checked {
    let runner = lab.runner();
    let (attempt, handle) = ready(&lab, &runner, "echo ready; exec sleep 600").await?;
    let stranger = forge(&lab, &attempt).await?;
    let other = format!("renamed-{}", attempt.id);
    let rename = RenameContainerOptionsBuilder::default().name(&other).build();
    lab.docker.rename_container(&attempt.object_name(), rename).await?;
    let fresh = lab.runner();
    assert_eq!(
        fresh.settle(&handle, Instant::now() + PATIENCE).await?,
        Settled::MayHaveStarted,
        "the name is free, and the container runs"
    );
    fresh.remove(&handle).await?;
    assert!(!runs(&lab, &other).await?, "the genuine one still runs");
    assert!(runs(&lab, &stranger).await?, "the stranger was removed");
    clean(&lab, &stranger).await
}

pub(crate) async fn a_stranger_with_the_attempts_name_is_not_removed(lab: Lab) -> Checked {
    // Pulls the image.
    let first = attempt(&lab, "true");
    let runner = lab.runner();
    let handle = launch(&runner, &first).await?;
    end(&runner, &handle).await?;
    runner.remove(&handle).await?;
    let body = ContainerCreateBody {
        image: Some(lab.image.canonical()),
        ..ContainerCreateBody::default()
    };
    for name in [first.object_name(), format!("{}-end", first.object_name())] {
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        lab.docker.create_container(Some(options), body.clone()).await?;
        lab.runner().remove(&handle).await?;
        let found = lab.docker.inspect_container(&name, None).await;
        clean(&lab, &name).await?;
        found?;
    }
    Ok(())
}

//! Jobs that a command's Pod owns.

use std::sync::Arc;

use futures::FutureExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use longshore_core::{ErrorKind, Runner, RunnerName};
use longshore_kubernetes::{KubernetesRunner, OwnerPod};
use serde_json::json;
use tokio::time::timeout;

use crate::{Body, Case, Checked, PATIENCE, check, launch, object, refused};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![
        ("an_owner_that_would_not_keep_the_job_is_refused_before_anything_is_created", |c| {
            an_owner_that_would_not_keep_the_job_is_refused_before_anything_is_created(c).boxed()
        }),
        ("a_job_is_its_owners_and_ends_with_it", |c| {
            a_job_is_its_owners_and_ends_with_it(c).boxed()
        }),
    ]
}

fn owner(namespace: &str, name: &str, uid: &str) -> OwnerPod {
    let mut owner = OwnerPod::default();
    owner.namespace = Some(namespace.to_owned());
    owner.name = Some(name.to_owned());
    owner.uid = Some(uid.to_owned());
    owner
}

fn runner(case: &Case, owner_pod: OwnerPod) -> KubernetesRunner {
    let mut config = case.lab.config();
    config.owner_pod = owner_pod;
    KubernetesRunner::new(RunnerName::kubernetes(), config)
}

/// Kubernetes removed such a job while it ran.
async fn an_owner_that_would_not_keep_the_job_is_refused_before_anything_is_created(
    case: Arc<Case>,
) -> Checked {
    let here = case.lab.namespace.as_str();
    let mut part = owner(here, "nobody", "");
    part.uid = None;
    for (owner, kind, message) in [
        (owner(here, "nobody", "1-2-3"), ErrorKind::Unavailable, "ownerPod does not exist"),
        (
            owner("kube-system", "x", "1"),
            ErrorKind::Unsupported,
            "ownerPod is in another namespace",
        ),
        (part, ErrorKind::Unsupported, "needs all of namespace, name and uid"),
    ] {
        let runner = runner(&case, owner);
        let attempt = case.script("true");
        let error = refused(launch(&runner, &attempt).await)?;
        check(error.kind() == kind, || format!("{error:?}"))?;
        check(error.to_string().contains(message), || error.to_string())?;
        let Err(probed) = runner.probe().await else { return Err("healthy".into()) };
        check(probed.to_string().contains(message), || probed.to_string())?;
    }
    let made = case.lab.leftovers(std::slice::from_ref(&case.installation)).await?;
    check(made.is_empty(), || format!("{made:?}"))
}

/// Returns a Pod that runs until it is deleted.
async fn command(case: &Case, pods: &Api<Pod>) -> Checked<Pod> {
    let pod = json!({
        "metadata": { "generateName": format!("command-{}-", case.installation) },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "command",
                "image": case.lab.image.as_str(),
                "command": ["sleep", "600"],
            }],
        },
    });
    Ok(pods.create(&PostParams::default(), &object(pod)?).await?)
}

async fn a_job_is_its_owners_and_ends_with_it(case: Arc<Case>) -> Checked {
    let pods = case.lab.pods();
    let pod = command(&case, &pods).await?;
    let (name, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
    let own = runner(&case, owner(&case.lab.namespace, &name, &uid));
    own.probe().await?;
    let other = command(&case, &pods).await?;
    let uid = other.uid().unwrap_or_default();
    let other_runner = runner(&case, owner(&case.lab.namespace, &other.name_any(), &uid));
    let without = case.lab.runner();
    let started = launch(&own, &case.script("sleep 600")).await?;
    let installation = &case.installation;
    check(own.adopt(installation).await?.len() == 1, || "it is not its owner's".to_owned())?;
    for foreign in [&other_runner, &without] {
        let adopted = foreign.adopt(installation).await?;
        let abandoned = foreign.abandoned(installation).await?;
        let none = adopted.is_empty() && abandoned.is_empty();
        check(none, || format!("{adopted:?}, {abandoned:?}"))?;
    }
    let job = format!("longshore-{}", started.handle.attempt);
    let uid = case.lab.jobs().get(&job).await?.uid().unwrap_or_default();
    let gone = await_condition(case.lab.jobs(), &job, is_deleted(&uid));
    pods.delete(&name, &DeleteParams::default().grace_period(0)).await?;
    timeout(PATIENCE, gone).await??;
    pods.delete(&other.name_any(), &DeleteParams::default().grace_period(0)).await?;
    Ok(())
}

//! Images: credentials, and registries that refuse, fail, or do not answer.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::Secret as KubernetesSecret;
use kube::Api;
use longshore_core::{
    Attempt, ErrorKind, ImageReason, ImageRef, JobSpec, LaunchContext, LaunchError, PullPolicy,
    RegistryAuth, Runner, RunnerName, Secret, Settled, Started,
};
use longshore_kubernetes::KubernetesRunner;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::{Body, Case, Checked, PATIENCE, check, end, launch, refused};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![
        ("a_login_is_a_secret_that_comes_and_goes_with_the_job", |c| {
            a_login_is_a_secret_that_comes_and_goes_with_the_job(c).boxed()
        }),
        ("a_fenced_attempt_keeps_no_secret", |c| a_fenced_attempt_keeps_no_secret(c).boxed()),
        ("a_login_that_the_registry_refuses_is_denied_at_once", |c| {
            a_login_that_the_registry_refuses_is_denied_at_once(c).boxed()
        }),
        ("a_pull_secret_that_is_not_there_is_named_by_the_failure", |c| {
            a_pull_secret_that_is_not_there_is_named_by_the_failure(c).boxed()
        }),
        ("a_registry_that_refuses_connections_is_asked_until_the_pull_deadline", |c| {
            a_registry_that_refuses_connections_is_asked_until_the_pull_deadline(c).boxed()
        }),
        ("a_silent_registry_is_given_up_at_the_pull_deadline", |c| {
            a_silent_registry_is_given_up_at_the_pull_deadline(c).boxed()
        }),
        ("a_pull_that_cannot_be_taken_back_yet_is_settled_later", |c| {
            a_pull_that_cannot_be_taken_back_yet_is_settled_later(c).boxed()
        }),
        ("a_pod_without_a_node_is_no_failure_of_its_image", |c| {
            a_pod_without_a_node_is_no_failure_of_its_image(c).boxed()
        }),
    ]
}

fn variable(name: &str) -> Checked<String> {
    env::var(name).map_err(|_| format!("set {name}").into())
}

/// Returns an attempt that runs `true` in `image` and always pulls it.
pub(crate) fn pulling(case: &Case, image: &str) -> Checked<Attempt> {
    let mut spec = JobSpec::container(image.parse::<ImageRef>()?);
    if let Some(container) = &mut spec.container {
        container.command = vec!["true".to_owned()];
    }
    let mut attempt = case.attempt(spec);
    attempt.pull_policy = PullPolicy::Always;
    Ok(attempt)
}

/// Returns an attempt with the private image, and the login for it.
fn private(case: &Case) -> Checked<(Attempt, String)> {
    let attempt = pulling(case, &variable("LONGSHORE_LAB_PRIVATE_IMAGE")?)?;
    let file = variable("LONGSHORE_LAB_PRIVATE_REGISTRY_PASSWORD_FILE")?;
    Ok((attempt, std::fs::read_to_string(file)?.trim_end().to_owned()))
}

fn log_in(attempt: &mut Attempt, password: &str) -> Checked {
    let server = variable("LONGSHORE_LAB_PRIVATE_REGISTRY")?;
    let user = variable("LONGSHORE_LAB_PRIVATE_REGISTRY_USER")?;
    attempt.registry_auth = Some(RegistryAuth::password(server, user, Secret::new(password)));
    Ok(())
}

async fn secret_of(case: &Case, attempt: &Attempt) -> Checked<Option<KubernetesSecret>> {
    let secrets: Api<KubernetesSecret> =
        Api::namespaced(case.lab.client.clone(), &case.lab.namespace);
    Ok(secrets.get_opt(&attempt.object_name()).await?)
}

/// Waits until the Secret of `attempt` is gone.
async fn until_no_secret(case: &Case, attempt: &Attempt) -> Checked {
    let deadline = Instant::now() + Duration::from_secs(10);
    while secret_of(case, attempt).await?.is_some() {
        check(Instant::now() < deadline, || "the Secret is still there".to_owned())?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn a_login_is_a_secret_that_comes_and_goes_with_the_job(case: Arc<Case>) -> Checked {
    let runner = case.lab.runner();
    let (mut attempt, password) = private(&case)?;
    log_in(&mut attempt, &password)?;
    let started = launch(&runner, &attempt).await?;
    let made = secret_of(&case, &attempt).await?.ok_or("no Secret")?;
    check(made.type_.as_deref() == Some("kubernetes.io/dockerconfigjson"), || format!("{made:?}"))?;
    let owners = made.metadata.owner_references.unwrap_or_default();
    check(owners.iter().any(|o| o.kind == "Job" && o.name == attempt.object_name()), || {
        format!("{owners:?}")
    })?;
    let job = case.lab.jobs().get(&attempt.object_name()).await?;
    check(!serde_json::to_string(&job)?.contains(&password), || "the password shows".to_owned())?;
    let report = end(&runner, &started.handle).await?;
    check(report.outcome.is_success(), || format!("{report:?}"))?;
    runner.remove(&started.handle).await?;
    until_no_secret(&case, &attempt).await
}

async fn a_fenced_attempt_keeps_no_secret(case: Arc<Case>) -> Checked {
    let (mut attempt, password) = private(&case)?;
    log_in(&mut attempt, &password)?;
    // Acts as a launch that ended after it created the Secret and before the commit.
    let name = attempt.object_name();
    let runner = case.lab.runner();
    let mut job = serde_json::to_value(prepared(&runner, &attempt)?)?;
    job["metadata"]["namespace"] = case.lab.namespace.clone().into();
    let params = kube::api::PostParams::default();
    let job = case.lab.jobs().create(&params, &serde_json::from_value(job)?).await?;
    let secrets: Api<KubernetesSecret> =
        Api::namespaced(case.lab.client.clone(), &case.lab.namespace);
    let labels = job.metadata.labels.clone();
    let made = serde_json::json!({
        "metadata": {"name": name, "labels": labels, "ownerReferences": [{
            "apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job.metadata.uid,
        }]},
        "stringData": {"x": "hunter2"},
    });
    secrets.create(&params, &serde_json::from_value(made)?).await?;
    let handle = runner.handle(&attempt);
    let settled = runner.settle(&handle, Instant::now() + PATIENCE).await?;
    check(settled == Settled::NeverStarted, || format!("{settled:?}"))?;
    runner.remove(&handle).await?;
    check(secret_of(&case, &attempt).await?.is_none(), || "it is still there".to_owned())?;
    let fence = case.lab.jobs().get_opt(&name).await?;
    check(fence.is_some(), || "the fence is gone".to_owned())
}

/// Returns the Job that a launch of `attempt` would create.
fn prepared(
    runner: &KubernetesRunner,
    attempt: &Attempt,
) -> Checked<k8s_openapi::api::batch::v1::Job> {
    let plan = runner.plan(attempt)?;
    let job = plan.text.split("\n---\n").next().unwrap_or_default();
    Ok(serde_saphyr::from_str(job)?)
}

async fn a_login_that_the_registry_refuses_is_denied_at_once(case: Arc<Case>) -> Checked {
    let runner = case.lab.runner();
    let (anonymous, password) = private(&case)?;
    let (mut wrong, _) = private(&case)?;
    log_in(&mut wrong, &format!("not {password}"))?;
    for attempt in [anonymous, wrong] {
        let error = refused(launch(&runner, &attempt).await)?;
        let denied = ErrorKind::ImageUnavailable(ImageReason::Denied);
        check(error.kind() == denied, || format!("{error:?}"))?;
        until_no_secret(&case, &attempt).await?;
    }
    Ok(())
}

async fn a_pull_secret_that_is_not_there_is_named_by_the_failure(case: Arc<Case>) -> Checked {
    let mut config = case.lab.config();
    config.image_pull_secrets = vec!["no-such-secret".to_owned()];
    let runner = KubernetesRunner::new(RunnerName::kubernetes(), config);
    let (attempt, _) = private(&case)?;
    let error = refused(launch(&runner, &attempt).await)?;
    check(error.kind() == ErrorKind::ImageUnavailable(ImageReason::Denied), || {
        format!("{error:?}")
    })?;
    check(error.to_string().contains("no-such-secret"), || error.to_string())
}

/// Launches with `pull` as the limit for the image and `start` as the limit for the start.
async fn launch_by(
    runner: &dyn Runner,
    attempt: &Attempt,
    pull: Duration,
    start: Duration,
    retry: bool,
) -> Result<Started, LaunchError> {
    let mut context = LaunchContext::new(Instant::now() + start);
    context.pull_timeout = pull;
    context.retry_pull = retry;
    runner.launch(attempt, &context).await
}

const UNREACHABLE: ErrorKind = ErrorKind::ImageUnavailable(ImageReason::Unreachable);

async fn a_registry_that_refuses_connections_is_asked_until_the_pull_deadline(
    case: Arc<Case>,
) -> Checked {
    let runner = case.lab.runner();
    for (retry, least) in [(true, Duration::from_secs(5)), (false, Duration::ZERO)] {
        let attempt = pulling(&case, "localhost:1/x:1")?;
        let begun = Instant::now();
        let answer = launch_by(&runner, &attempt, Duration::from_secs(5), PATIENCE, retry).await;
        let error = refused(answer)?;
        let took = begun.elapsed();
        check(error.kind() == UNREACHABLE, || format!("{error:?}"))?;
        check(error.to_string().contains("connection refused"), || error.to_string())?;
        check(took >= least && took < least + Duration::from_secs(5), || {
            format!("retry {retry}: {took:?}")
        })?;
    }
    Ok(())
}

/// Returns a registry that accepts connections and never answers, and the name of an image there.
async fn silence() -> Checked<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    Ok((listener, format!("localhost:{port}/x:1")))
}

async fn a_silent_registry_is_given_up_at_the_pull_deadline(case: Arc<Case>) -> Checked {
    let runner = case.lab.runner();
    let (_silent, image) = silence().await?;
    let attempt = pulling(&case, &image)?;
    let answer = launch_by(&runner, &attempt, Duration::from_secs(3), PATIENCE, true).await;
    let error = refused(answer)?;
    check(error.kind() == UNREACHABLE, || format!("{error:?}"))?;
    check(error.to_string().contains("no answer within"), || error.to_string())
}

async fn a_pull_that_cannot_be_taken_back_yet_is_settled_later(case: Arc<Case>) -> Checked {
    let runner = case.lab.runner();
    let (_silent, image) = silence().await?;
    let attempt = pulling(&case, &image)?;
    let short = Duration::from_secs(2);
    match launch_by(&runner, &attempt, short, short * 2, true).await {
        Err(LaunchError::Indeterminate(error)) => {
            check(error.kind() == UNREACHABLE, || format!("{error:?}"))?;
        }
        other => return Err(format!("{other:?}").into()),
    }
    // Acts as another process, and too early: nothing is known yet.
    let handle = runner.handle(&attempt);
    let other = case.lab.runner();
    let early = other.settle(&handle, Instant::now() + short).await;
    check(early.is_err(), || format!("{early:?}"))?;
    let settled = other.settle(&handle, Instant::now() + PATIENCE).await?;
    check(settled == Settled::NeverStarted, || format!("{settled:?}"))
}

async fn a_pod_without_a_node_is_no_failure_of_its_image(case: Arc<Case>) -> Checked {
    let mut config = case.lab.config();
    config.node_selector = [("longshore.dev/no-such-node".to_owned(), "true".to_owned())].into();
    let runner = KubernetesRunner::new(RunnerName::kubernetes(), config);
    let attempt = pulling(&case, "localhost:1/x:1")?;
    let (pull, start) = (Duration::from_secs(1), Duration::from_secs(8));
    let error = refused(launch_by(&runner, &attempt, pull, start, true).await)?;
    check(error.kind() == ErrorKind::Saturated, || format!("{error:?}"))
}

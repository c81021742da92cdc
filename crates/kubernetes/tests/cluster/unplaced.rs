//! Jobs that get no Pod or no node, and how long the launch waits for one.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use longshore_core::{Attempt, Error, ErrorKind, LaunchContext, RejectReason, Runner, RunnerName};
use longshore_kubernetes::{KubernetesConfig, KubernetesRunner};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{Body, Case, Checked, check, object, refused};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![
        ("a_job_too_large_for_every_node_is_given_up_after_start_timeout", |c| {
            a_job_too_large_for_every_node_is_given_up_after_start_timeout(c).boxed()
        }),
        ("a_quota_without_room_is_given_up_after_start_timeout", |c| {
            a_quota_without_room_is_given_up_after_start_timeout(c).boxed()
        }),
        ("a_pod_that_can_never_be_created_is_refused_at_once", |c| {
            a_pod_that_can_never_be_created_is_refused_at_once(c).boxed()
        }),
        ("a_webhook_that_cannot_be_called_has_decided_nothing", |c| {
            a_webhook_that_cannot_be_called_has_decided_nothing(c).boxed()
        }),
    ]
}

const START: Duration = Duration::from_secs(4);
/// How much longer than its limit a refusal may take on a busy machine, because the launch takes
/// the Pod back with a proof.
const SLACK: Duration = Duration::from_secs(10);

/// Returns the refusal of a launch that may take minutes for its image and [`START`] for everything
/// else, and how long the launch took.
async fn refusal(runner: &KubernetesRunner, attempt: &Attempt) -> Checked<(Error, Duration)> {
    let begun = Instant::now();
    let mut context = LaunchContext::new(begun + Duration::from_secs(600));
    context.start_timeout = START;
    let error = refused(runner.launch(attempt, &context).await)?;
    Ok((error, begun.elapsed()))
}

/// Creates a namespace with `labels` for this case, and runs `body` in it.
pub(crate) async fn in_namespace<F: Future<Output = Checked>>(
    case: &Case,
    labels: Value,
    body: impl FnOnce(KubernetesConfig) -> F,
) -> Checked {
    let namespaces: Api<Namespace> = Api::all(case.lab.client.clone());
    let name = format!("longshore-{}", case.installation);
    let namespace = json!({"metadata": {"name": name, "labels": labels}});
    namespaces.create(&PostParams::default(), &object(namespace)?).await?;
    let mut config = case.lab.config();
    config.namespace = Some(name.clone());
    config.persistent_volume_claim_name = None;
    config.job_directory_root = None;
    let result = body(config).await;
    namespaces.delete(&name, &DeleteParams::default()).await?;
    result
}

fn runner(config: KubernetesConfig) -> KubernetesRunner {
    KubernetesRunner::new(RunnerName::kubernetes(), config)
}

async fn quota(case: &Case, namespace: Option<&str>, hard: Value) -> Checked {
    let name = namespace.unwrap_or_default();
    let quotas: Api<ResourceQuota> = Api::namespaced(case.lab.client.clone(), name);
    let quota = json!({"metadata": {"name": "quota"}, "spec": {"hard": hard}});
    quotas.create(&PostParams::default(), &object(quota)?).await?;
    // A quota counts once the controller has written its status.
    loop {
        let known = quotas.get("quota").await?.status.and_then(|status| status.hard);
        if known.is_some() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// With `startTimeout=4s`, a job that asked for 900Gi was still waiting after a minute.
async fn a_job_too_large_for_every_node_is_given_up_after_start_timeout(
    case: Arc<Case>,
) -> Checked {
    let mut attempt = case.script("true");
    let spec = Arc::make_mut(&mut attempt.spec);
    spec.resources.limits.memory = Some("900Gi".parse()?);
    let (error, took) = refusal(&case.lab.runner(), &attempt).await?;
    check(error.kind() == ErrorKind::Saturated, || format!("{error:?}"))?;
    check(error.to_string().contains("Insufficient memory"), || error.to_string())?;
    check(took >= START && took < START + SLACK, || format!("after {took:?}"))
}

/// With a quota of `pods=0`, a job fell back only after ten minutes.
async fn a_quota_without_room_is_given_up_after_start_timeout(case: Arc<Case>) -> Checked {
    in_namespace(&case, json!({}), |config| async {
        quota(&case, config.namespace.as_deref(), json!({"pods": "0"})).await?;
        let (error, took) = refusal(&runner(config), &case.script("true")).await?;
        check(error.kind() == ErrorKind::Saturated, || format!("{error:?}"))?;
        check(error.to_string().contains("exceeded quota"), || error.to_string())?;
        check(took >= START && took < START + SLACK, || format!("after {took:?}"))
    })
    .await
}

async fn a_pod_that_can_never_be_created_is_refused_at_once(case: Arc<Case>) -> Checked {
    let at_once = |took: Duration| check(took < START, || format!("after {took:?}"));
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    in_namespace(&case, labels, |config| async {
        let (error, took) = refusal(&runner(config), &case.script("true")).await?;
        check(error.kind() == ErrorKind::Denied, || format!("{error:?}"))?;
        check(error.to_string().contains("violates PodSecurity"), || error.to_string())?;
        at_once(took)
    })
    .await?;
    let mut config = case.lab.config();
    config.service_account_name = Some("no-such-account".to_owned());
    let (error, took) = refusal(&runner(config), &case.script("true")).await?;
    let config = ErrorKind::Rejected(RejectReason::ContainerConfig);
    check(error.kind() == config, || format!("{error:?}"))?;
    check(error.to_string().contains("no-such-account"), || error.to_string())?;
    at_once(took)
}

async fn a_webhook_that_cannot_be_called_has_decided_nothing(case: Arc<Case>) -> Checked {
    use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
    let name = format!("longshore-{}.longshore.dev", case.installation);
    let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(case.lab.client.clone());
    let webhook = json!({
        "metadata": {"name": name},
        "webhooks": [{
            "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Fail", "timeoutSeconds": 1,
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "objectSelector": {
                "matchLabels": {"longshore.dev/installation": case.installation},
            },
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
                "operations": ["CREATE"],
            }],
        }],
    });
    webhooks.create(&PostParams::default(), &object(webhook)?).await?;
    let answer = async {
        // The API server reads the configuration a moment later.
        loop {
            let probe = json!({
                "metadata": {
                    "name": format!("probe-{}", case.installation),
                    "labels": {"longshore.dev/installation": case.installation},
                },
                "spec": {"containers": [{"name": "x", "image": "x"}]},
            });
            let dry_run = PostParams { dry_run: true, ..PostParams::default() };
            if case.lab.pods().create(&dry_run, &object(probe)?).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        refusal(&case.lab.runner(), &case.script("true")).await
    }
    .await;
    webhooks.delete(&name, &DeleteParams::default()).await?;
    let (error, took) = answer?;
    check(error.kind() == ErrorKind::Unavailable, || format!("{error:?}"))?;
    check(error.to_string().contains("failed calling webhook"), || error.to_string())?;
    check(took < START + SLACK, || format!("after {took:?}"))
}

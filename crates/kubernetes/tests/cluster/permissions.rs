//! Permissions that the API server does not grant.

use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use hyper::{Method, StatusCode, Uri};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use longshore_core::{Attempt, ErrorKind, Health, LaunchError, Runner, RunnerName, Settled};
use longshore_kubernetes::KubernetesRunner;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::layer::{Fate, Layer};
use crate::{Body, Case, Checked, PATIENCE, check, kubeconfig, launch, object, refused};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![
        ("permissions_that_are_missing_are_named", |c| {
            permissions_that_are_missing_are_named(c).boxed()
        }),
        ("permissions_that_are_wished_for_are_named", |c| {
            permissions_that_are_wished_for_are_named(c).boxed()
        }),
        ("a_job_that_may_be_created_and_not_released_is_denied_and_removed", |c| {
            a_job_that_may_be_created_and_not_released_is_denied_and_removed(c).boxed()
        }),
    ]
}

/// Calls `body` with a runner whose account has only the permissions `rules`.
pub(crate) async fn permitted<T, F: Future<Output = T>>(
    case: &Case,
    rules: Value,
    body: impl FnOnce(KubernetesRunner) -> F,
) -> Checked<T> {
    let name = format!("longshore-{}", case.installation);
    let client = case.lab.client.clone();
    let namespace = case.lab.namespace.as_str();
    let params = PostParams::default();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let roles: Api<Role> = Api::namespaced(client.clone(), namespace);
    let bindings: Api<RoleBinding> = Api::namespaced(client, namespace);
    let account = accounts.create(&params, &object(json!({"metadata": {"name": name}}))?).await?;
    let role = json!({"metadata": {"name": name}, "rules": rules});
    roles.create(&params, &object(role)?).await?;
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    });
    bindings.create(&params, &object(binding)?).await?;
    let token = accounts
        .create_token_request(&name, &params, &object(json!({"spec": {"audiences": []}}))?)
        .await?;
    let token = token.status.map(|status| status.token).unwrap_or_default();
    let file = kubeconfig(|c| c["users"][0]["user"] = json!({"token": token}))?;
    let mut config = case.lab.config();
    config.kubeconfig = Some(file.path().to_owned());
    let answer = body(KubernetesRunner::new(RunnerName::kubernetes(), config)).await;
    let gone = DeleteParams::default();
    bindings.delete(&name, &gone).await?;
    roles.delete(&name, &gone).await?;
    accounts.delete(account.metadata.name.as_deref().unwrap_or(&name), &gone).await?;
    Ok(answer)
}

/// Returns the result of a probe by an account that has only the permissions `rules`.
async fn probed_with(case: &Case, rules: Value) -> Checked<longshore_core::Result<Health>> {
    permitted(case, rules, async |runner| runner.probe().await).await
}

async fn permissions_that_are_missing_are_named(case: Arc<Case>) -> Checked {
    let rules = json!([
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]},
    ]);
    let Err(error) = probed_with(&case, rules).await? else { return Err("healthy".into()) };
    check(error.kind() == ErrorKind::Denied, || format!("{error:?}"))?;
    let said = error.to_string();
    check(said.contains("patch jobs, delete jobs, get pods/log"), || said)
}

async fn permissions_that_are_wished_for_are_named(case: Arc<Case>) -> Checked {
    let role: Value = serde_saphyr::from_str(include_str!("../../role.yaml"))?;
    let all = role["rules"].as_array().cloned().unwrap_or_default();
    let health = probed_with(&case, json!(all)).await??;
    check(health.warnings.is_empty(), || format!("{:?}", health.warnings))?;
    let off = |health: &Health| health.facts.iter().any(|(_, value)| value.starts_with("off"));
    check(!off(&health), || format!("{:?}", health.facts))?;
    let needed: Vec<&Value> = all
        .iter()
        .filter(|rule| !matches!(rule["resources"][0].as_str(), Some("events" | "secrets")))
        .collect();
    let health = probed_with(&case, json!(needed)).await??;
    for wish in ["list events", "watch events"] {
        let named = health.warnings.iter().any(|warning| warning.contains(wish));
        check(named, || format!("{wish}: {:?}", health.warnings))?;
    }
    let secrets = health.facts.iter().find(|(name, _)| name == "secrets");
    let said = secrets.map(|(_, value)| value.as_str()).unwrap_or_default();
    let expected = "off, not allowed to create secrets, delete secrets: ";
    check(said.starts_with(expected), || format!("{:?}", health.facts))
}

/// A right that is revoked within the half minute in which a runner counts as ready. The launch was
/// neither refused nor started, and the job ended as `Lost`.
async fn a_job_that_may_be_created_and_not_released_is_denied_and_removed(
    case: Arc<Case>,
) -> Checked {
    let rules = json!([
        {
            "apiGroups": ["batch"], "resources": ["jobs"],
            "verbs": ["create", "get", "list", "watch", "delete"],
        },
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]},
    ]);
    permitted(&case, rules, async |runner| {
        let attempt = case.script("echo started");
        let error = refused(launch(&runner, &attempt).await)?;
        check(error.kind() == ErrorKind::Denied, || format!("{error:?}"))?;
        let said = error.to_string();
        check(said.contains("cannot patch resource \"jobs\""), || said)?;
        let left = runner.adopt(&case.installation).await?;
        check(left.is_empty(), || format!("left behind: {left:?}"))?;
        // A launch whose process was killed before it released the Job.
        let open = case.script("echo started");
        create_only(&case, &open).await?;
        let settled = runner.settle(&runner.handle(&open), Instant::now() + PATIENCE).await?;
        check(settled == Settled::NeverStarted, || format!("{settled:?}"))?;
        // What was fenced without the right to patch is refused from then on.
        refused(launch(&case.lab.runner(), &open).await).map(drop)
    })
    .await?
}

/// Creates the Job of `attempt`, and does not release it.
async fn create_only(case: &Case, attempt: &Attempt) -> Checked {
    let nothing = |method: &Method, uri: &Uri| match *method == Method::PATCH {
        true => Fate::Answer(StatusCode::SERVICE_UNAVAILABLE, uri.to_string()),
        false => Fate::Pass,
    };
    let layer = Layer::start_by_method(case.lab.client.clone(), nothing).await?;
    let (runner, _file) = layer.runner(&case.lab)?;
    match launch(&runner, attempt).await {
        Err(LaunchError::Indeterminate(_)) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

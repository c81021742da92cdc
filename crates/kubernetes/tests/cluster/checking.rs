//! What a check finds out about a job before it is launched.

use std::sync::Arc;

use futures::FutureExt;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota, Secret, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::wait::await_condition;
use longshore_core::{
    Finding, FindingCause, JobSpec, RegistryAuth, Runner, RunnerName, SecurityProfile, Severity,
};
use longshore_kubernetes::{KubernetesConfig, KubernetesRunner};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::permissions::permitted;
use crate::policy::{Policy, Target};
use crate::unplaced::in_namespace;
use crate::{Body, Case, Checked, PATIENCE, check, end, launch, object};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![
        ("each_obstacle_of_a_namespace_is_found_before_a_job_meets_it", |c| {
            each_obstacle_of_a_namespace_is_found_before_a_job_meets_it(c).boxed()
        }),
        ("a_policy_that_denies_only_pods_is_found", |c| {
            a_policy_that_denies_only_pods_is_found(c).boxed()
        }),
        ("a_pod_that_may_not_be_checked_is_a_note", |c| {
            a_pod_that_may_not_be_checked_is_a_note(c).boxed()
        }),
    ]
}

type Found = Vec<(Severity, FindingCause)>;

async fn found(case: &Case, config: &KubernetesConfig, spec: &JobSpec) -> Checked<Found> {
    let runner = KubernetesRunner::new(RunnerName::kubernetes(), config.clone());
    let findings = runner.check(&case.attempt(spec.clone())).await?;
    let without_hint = findings.iter().find(|it| it.hint.is_none());
    check(without_hint.is_none(), || format!("no hint: {without_hint:?}"))?;
    Ok(findings.iter().map(|it| (it.severity, it.cause)).collect())
}

fn are(found: &Found, expected: &[(Severity, FindingCause)]) -> Checked {
    check(found == expected, || format!("expected {expected:?}, found {found:?}"))
}

/// A Job is accepted in such a namespace, and only its Pod is refused, after the job has started
/// to wait for it.
async fn each_obstacle_of_a_namespace_is_found_before_a_job_meets_it(case: Arc<Case>) -> Checked {
    use FindingCause as Cause;
    use Severity::{Error, Warning};
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let case = &*case;
    in_namespace(case, labels, |mut config| {
        Box::pin(async move {
            let namespace = config.namespace.clone().unwrap_or_default();
            let client = || case.lab.client.clone();
            let accounts: Api<ServiceAccount> = Api::namespaced(client(), &namespace);
            let exists =
                await_condition(accounts, "default", |it: Option<&ServiceAccount>| it.is_some());
            timeout(PATIENCE, exists).await??;
            let mut spec = case.lab.job("echo here");
            spec.security_context.run_as_user = Some(65_534);
            are(&found(case, &config, &spec).await?, &[(Error, Cause::PodSecurity)])?;
            config.security_profile = SecurityProfile::Restricted;
            spec.security_profile = Some(SecurityProfile::Restricted);
            are(&found(case, &config, &spec).await?, &[])?;

            let quotas: Api<ResourceQuota> = Api::namespaced(client(), &namespace);
            let quota = |hard: Value| json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
            create(&quotas, quota(json!({"pods": "0"}))).await?;
            are(&until(case, &config, &spec).await?, &[(Error, Cause::ResourceQuota)])?;
            quotas.delete("q", &DeleteParams::default()).await?;

            let ranges: Api<LimitRange> = Api::namespaced(client(), &namespace);
            let limit = json!({"type": "Container", "max": {"memory": "64Mi"}});
            let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [limit]}});
            create(&ranges, range).await?;
            let mut large = spec.clone();
            large.resources.limits.memory = Some("1Gi".parse()?);
            are(&until(case, &config, &large).await?, &[(Error, Cause::LimitRange)])?;

            let with = |change: &dyn Fn(&mut KubernetesConfig)| {
                let mut config = config.clone();
                change(&mut config);
                config
            };
            let nobody = with(&|it| it.service_account_name = Some("nobody".to_owned()));
            are(&found(case, &nobody, &spec).await?, &[(Error, Cause::ServiceAccount)])?;
            let urgent = with(&|it| it.priority_class_name = Some("no-such-class".to_owned()));
            are(&found(case, &urgent, &spec).await?, &[(Error, Cause::PriorityClass)])?;
            let secrets: Api<Secret> = Api::namespaced(client(), &namespace);
            create(&secrets, json!({"metadata": {"name": "there"}})).await?;
            let pulls =
                with(&|it| it.image_pull_secrets = vec!["there".to_owned(), "gone".to_owned()]);
            are(&found(case, &pulls, &spec).await?, &[(Warning, Cause::ImagePullSecret)])?;

            // What a check finds good runs, and no check has left anything behind.
            let runner = KubernetesRunner::new(RunnerName::kubernetes(), config.clone());
            let left = runner.adopt(&case.installation).await?;
            check(left.is_empty(), || format!("a check left {left:?}"))?;
            are(&until_free(case, &config, &spec).await?, &[])?;
            let started = launch(&runner, &case.attempt(spec)).await?;
            let report = end(&runner, &started.handle).await?;
            check(report.outcome.is_success(), || format!("{:?}", report.outcome))?;
            runner.remove(&started.handle).await?;
            Ok(())
        })
    })
    .await
}

async fn create<K>(api: &Api<K>, value: Value) -> Checked
where
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    api.create(&PostParams::default(), &object(value)?).await?;
    Ok(())
}

/// Checks until something is found: the API server learns of a quota or a limit a moment after its
/// creation.
async fn until(case: &Case, config: &KubernetesConfig, spec: &JobSpec) -> Checked<Found> {
    looking(case, config, spec, |found| !found.is_empty()).await
}

/// Checks until nothing is found.
async fn until_free(case: &Case, config: &KubernetesConfig, spec: &JobSpec) -> Checked<Found> {
    looking(case, config, spec, Vec::is_empty).await
}

async fn looking(
    case: &Case,
    config: &KubernetesConfig,
    spec: &JobSpec,
    done: impl Fn(&Found) -> bool,
) -> Checked<Found> {
    let look = async {
        loop {
            let found = found(case, config, spec).await?;
            if done(&found) {
                return Ok(found);
            }
            // No event reports when admission has read a quota.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, look).await?
}

async fn a_policy_that_denies_only_pods_is_found(case: Arc<Case>) -> Checked {
    let policy = Policy::denying(&case, Target::Pods, "not here").await?;
    let checked = found(&case, &case.lab.config(), &case.lab.job("true")).await;
    policy.remove().await?;
    are(&checked?, &[(Severity::Error, FindingCause::AdmissionPolicy)])
}

/// The documented Role does not allow to create Pods.
async fn a_pod_that_may_not_be_checked_is_a_note(case: Arc<Case>) -> Checked {
    let role: Value = serde_saphyr::from_str(include_str!("../../role.yaml"))?;
    let mut attempt = case.script("true");
    let password = longshore_core::Secret::new("***");
    attempt.registry_auth = Some(RegistryAuth::password("r.example", "me", password));
    let check_it = async |runner: KubernetesRunner| runner.check(&attempt).await;
    let findings: Vec<Finding> = permitted(&case, role["rules"].clone(), check_it).await??;
    let [one] = &findings[..] else { return Err(format!("{findings:?}").into()) };
    let is = (one.severity, one.cause);
    check(is == (Severity::Note, FindingCause::Permission), || format!("{one:?}"))
}

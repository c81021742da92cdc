//! Namespaces that enforce a Pod Security Standard.

use std::sync::Arc;

use futures::FutureExt;
use hyper::{StatusCode, Uri};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::runtime::wait::await_condition;
use longshore_core::{ErrorKind, Runner, RunnerName, SecurityProfile};
use longshore_kubernetes::KubernetesRunner;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::layer::{Fate, Layer};
use crate::unplaced::in_namespace;
use crate::{Body, Case, Checked, PATIENCE, check, end, launch, output, refused};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![("a_namespace_that_enforces_restricted_runs_its_first_job", |c| {
        a_namespace_that_enforces_restricted_runs_its_first_job(c).boxed()
    })]
}

/// Returns the rule of a layer that grants what `role.yaml` does, and so no creation of Pods.
fn without_pods() -> Checked<impl Fn(&Uri) -> Fate + Send + Sync> {
    let role: Value = serde_saphyr::from_str(include_str!("../../role.yaml"))?;
    let review = |kind: &str, status: Value| {
        let version = "authorization.k8s.io/v1";
        json!({"apiVersion": version, "kind": kind, "spec": {}, "status": status}).to_string()
    };
    let rules = json!({
        "incomplete": false, "resourceRules": role["rules"], "nonResourceRules": [],
    });
    let rules = review("SelfSubjectRulesReview", rules);
    let denied = review("SelfSubjectAccessReview", json!({"allowed": false}));
    Ok(move |uri: &Uri| match uri.path().rsplit('/').next() {
        Some("selfsubjectrulesreviews") => Fate::Answer(StatusCode::CREATED, rules.clone()),
        Some("selfsubjectaccessreviews") => Fate::Answer(StatusCode::CREATED, denied.clone()),
        _ => Fate::Pass,
    })
}

/// No job could run in such a namespace, and a probe reported that one could.
async fn a_namespace_that_enforces_restricted_runs_its_first_job(case: Arc<Case>) -> Checked {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let case = &*case;
    in_namespace(case, labels, |config| async move {
        let namespace = config.namespace.as_deref().unwrap_or_default();
        let accounts: Api<ServiceAccount> = Api::namespaced(case.lab.client.clone(), namespace);
        let created =
            await_condition(accounts, "default", |it: Option<&ServiceAccount>| it.is_some());
        timeout(PATIENCE, created).await??;
        let with = |security_profile| {
            let mut config = config.clone();
            config.security_profile = security_profile;
            KubernetesRunner::new(RunnerName::kubernetes(), config)
        };
        // Who may create Pods learns it from the check, and only there.
        let runner = with(SecurityProfile::Baseline);
        let warnings = runner.probe().await?.warnings;
        check(warnings.is_empty(), || format!("twice: {warnings:?}"))?;
        let found = runner.check(&case.script("true")).await?;
        let hints: Vec<_> = found.iter().filter_map(|found| found.hint.as_deref()).collect();
        let once =
            matches!(hints.as_slice(), [hint] if hint.contains("securityProfile: restricted"));
        check(once, || format!("{found:?}"))?;
        let layer = Layer::start(case.lab.client.clone(), without_pods()?).await?;
        let mut limited = config.clone();
        limited.security_profile = SecurityProfile::Baseline;
        let (runner, _file) = layer.runner_with(limited)?;
        let warnings = runner.probe().await?.warnings.join("\n");
        check(warnings.contains("set job.securityProfile: restricted"), || warnings)?;
        let runner = with(SecurityProfile::Restricted);
        let warnings = runner.probe().await?.warnings;
        check(warnings.is_empty(), || format!("{warnings:?}"))?;
        let mut spec = case.lab.job("id -u");
        let error = refused(launch(&runner, &case.attempt(spec.clone())).await)?;
        check(error.kind() == ErrorKind::Denied, || format!("{error:?}"))?;
        check(error.to_string().contains("securityProfile: restricted"), || error.to_string())?;
        spec.security_profile = Some(SecurityProfile::Restricted);
        spec.security_context.run_as_user = Some(65_534);
        let started = launch(&runner, &case.attempt(spec)).await?;
        let report = end(&runner, &started.handle).await?;
        check(report.outcome.is_success(), || format!("{:?}", report.outcome))?;
        let output = output(&runner, &started.handle).await?;
        check(output == b"65534\n", || format!("{output:?}"))?;
        runner.remove(&started.handle).await?;
        Ok(())
    })
    .await
}

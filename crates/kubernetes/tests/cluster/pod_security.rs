//! Namespaces that enforce a Pod Security Standard.

use std::sync::Arc;

use futures::FutureExt;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::runtime::wait::await_condition;
use longshore_core::{ErrorKind, Runner, RunnerName, SecurityProfile};
use longshore_kubernetes::KubernetesRunner;
use serde_json::json;
use tokio::time::timeout;

use crate::unplaced::in_namespace;
use crate::{Body, Case, Checked, PATIENCE, check, end, launch, output, refused};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![("a_namespace_that_enforces_restricted_runs_its_first_job", |c| {
        a_namespace_that_enforces_restricted_runs_its_first_job(c).boxed()
    })]
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
        let warnings = with(SecurityProfile::Baseline).probe().await?.warnings.join("\n");
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

//! A second Pod in addition to the one that Longshore released.

use std::sync::Arc;

use futures::FutureExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::PostParams;
use kube::runtime::wait::{Condition, await_condition};
use longshore_core::Outcome;
use serde_json::json;
use tokio::time::timeout;

use crate::{Body, Case, Checked, PATIENCE, check, end, launch, object};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![("a_second_pod_of_the_job_stands_in_the_result", |c| {
        a_second_pod_of_the_job_stands_in_the_result(c).boxed()
    })]
}

/// Returns a Pod made from the template of `job`, such as the Job controller creates if it has not
/// seen the first one. The Pod has neither the controller's label nor its controller reference, so
/// that the controller does not delete it at once.
fn second_pod(job: &Job) -> Checked<Pod> {
    let template = job.spec.as_ref().map(|spec| &spec.template).ok_or("a Job without a spec")?;
    let ours = |(key, _): &(&String, &String)| key.starts_with("longshore.dev/");
    let labels: std::collections::BTreeMap<_, _> = job.labels().iter().filter(ours).collect();
    object(json!({
        "metadata": {
            "generateName": format!("{}-", job.name_any()),
            "labels": labels,
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "Job",
                "name": job.name_any(), "uid": job.uid(),
            }],
        },
        "spec": template.spec,
    }))
}

fn runs() -> impl Condition<Pod> {
    |pod: Option<&Pod>| {
        let status = pod.and_then(|pod| pod.status.as_ref());
        status.is_some_and(|status| status.phase.as_deref() == Some("Running"))
    }
}

async fn a_second_pod_of_the_job_stands_in_the_result(case: Arc<Case>) -> Checked {
    let (_, root) = case.lab.claim.clone().ok_or("set LONGSHORE_LAB_CLAIM and _VOLUME")?;
    let folder = tempfile::Builder::new().prefix("second-pod-").tempdir_in(root)?;
    for name in ["input", "output"] {
        std::fs::create_dir(folder.path().join(name))?;
    }
    let mut spec = case.lab.job("until [ -e /job/input/end ]; do sleep 0.1; done; exit 7");
    spec.job_directory = Some(folder.path().to_owned());
    let runner = case.lab.runner();
    let started = launch(&runner, &case.attempt(spec)).await?;

    let ours = case.pods();
    let jobs = case.lab.jobs().list(&ours).await?.items;
    let [job] = jobs.as_slice() else { return Err(format!("{} Jobs", jobs.len()).into()) };
    let pods = case.lab.pods();
    let second = pods.create(&PostParams::default(), &second_pod(job)?).await?.name_any();
    timeout(PATIENCE, await_condition(pods.clone(), &second, runs())).await??;
    std::fs::write(folder.path().join("input/end"), "")?;

    let report = end(&runner, &started.handle).await?;
    let seven = Outcome::Exited { code: 7, signal: None };
    check(report.outcome == seven, || format!("{:?}", report.outcome))?;
    check(report.started_again == [second.as_str()], || {
        format!("{second} is not {:?}", report.started_again)
    })
}

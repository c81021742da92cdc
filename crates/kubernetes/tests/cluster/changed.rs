//! Jobs that another client changes while they run.

use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, PropagationPolicy};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::{Condition, await_condition};
use longshore_core::{Attempt, LogChunk, LogPosition, Outcome, Report, Runner, Started};
use longshore_kubernetes::KubernetesRunner;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{Body, Case, Checked, PATIENCE, check, end, launch};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![
        ("an_image_that_is_changed_in_place_shows_as_a_second_start", |c| {
            an_image_that_is_changed_in_place_shows_as_a_second_start(c).boxed()
        }),
        ("a_pod_that_loses_its_labels_is_followed_to_its_end", |c| {
            a_pod_that_loses_its_labels_is_followed_to_its_end(c).boxed()
        }),
        ("a_cancel_without_annotations_is_a_cancel", |c| {
            a_cancel_without_annotations_is_a_cancel(c).boxed()
        }),
        ("a_job_that_somebody_suspends_says_so", |c| {
            a_job_that_somebody_suspends_says_so(c).boxed()
        }),
        ("a_job_whose_deadline_somebody_edits_says_so", |c| {
            a_job_whose_deadline_somebody_edits_says_so(c).boxed()
        }),
        ("the_output_of_a_pod_that_was_deleted_after_its_end_is_a_gap", |c| {
            the_output_of_a_pod_that_was_deleted_after_its_end_is_a_gap(c).boxed()
        }),
        ("an_orphaned_pod_is_followed_and_removed", |c| {
            an_orphaned_pod_is_followed_and_removed(c).boxed()
        }),
    ]
}

/// A job that runs until the file `end` exists.
const UNTIL_TOLD: &str = "until [ -e /job/input/end ]; do sleep 0.1; done; exit 5";

struct Running {
    runner: KubernetesRunner,
    attempt: Attempt,
    started: Started,
    folder: tempfile::TempDir,
}

impl Running {
    async fn start(case: &Case) -> Checked<Self> {
        let runner = case.lab.runner();
        let (attempt, folder) = case.with_directory(UNTIL_TOLD)?;
        let started = launch(&runner, &attempt).await?;
        Ok(Self { runner, attempt, started, folder })
    }

    fn let_end(&self) -> Checked {
        Ok(std::fs::write(self.folder.path().join("input/end"), "")?)
    }

    async fn end(&self) -> Checked<Report> {
        end(&self.runner, &self.started.handle).await
    }

    async fn pod(&self, case: &Case) -> Checked<Pod> {
        let pods = case.lab.pods().list(&case.pods()).await?.items;
        pods.into_iter().next().ok_or_else(|| "no Pod".into())
    }

    async fn patch_pod(&self, case: &Case, patch: Value) -> Checked {
        let name = self.pod(case).await?.name_any();
        let patch = Patch::Merge(patch);
        case.lab.pods().patch(&name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    async fn patch_job(&self, case: &Case, patch: Value) -> Checked<Job> {
        let name = self.attempt.object_name();
        Ok(case.lab.jobs().patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }
}

fn lost(report: Report, words: &str) -> Checked {
    match report.outcome {
        Outcome::Lost { message } if message.contains(words) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// Such a job, for example of a node that was drained, seemed to have written nothing.
async fn the_output_of_a_pod_that_was_deleted_after_its_end_is_a_gap(case: Arc<Case>) -> Checked {
    let attempt = case.script("echo words; exit 5");
    let started = launch(&case.lab.runner(), &attempt).await?;
    let name = attempt.object_name();
    let failed = await_condition(case.lab.jobs(), &name, is_job_failed());
    timeout(PATIENCE, failed).await??;
    for pod in case.lab.pods().list(&case.pods()).await? {
        let (name, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
        case.lab.pods().delete(&name, &DeleteParams::default()).await?;
        let deleted = await_condition(case.lab.pods(), &name, is_deleted(&uid));
        timeout(PATIENCE, deleted).await??;
    }
    for follow in [false, true] {
        let runner = case.lab.runner();
        let read = runner.logs(&started.handle, LogPosition::START, follow);
        let read: Vec<_> = timeout(PATIENCE, read.collect()).await?;
        let is_gap = matches!(read.as_slice(), [Ok(LogChunk::Gap { .. })]);
        check(is_gap, || format!("follow {follow}: {read:?}"))?;
    }
    Ok(())
}

/// Returns whether a Job has failed.
fn is_job_failed() -> impl Condition<Job> {
    |job: Option<&Job>| {
        let conditions = job.and_then(|job| job.status.as_ref()?.conditions.as_deref());
        conditions.unwrap_or_default().iter().any(|it| it.type_ == "Failed" && it.status == "True")
    }
}

const ENDED: Outcome = Outcome::Exited { code: 5, signal: None };

async fn an_image_that_is_changed_in_place_shows_as_a_second_start(case: Arc<Case>) -> Checked {
    let job = Running::start(&case).await?;
    // With another name of the same image, the kubelet starts the container again.
    let image = case.lab.image.to_string().replace("localhost:", "127.0.0.1:");
    let name = job.pod(&case).await?.name_any();
    let replace = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": image}]);
    let patch: Patch<Pod> = Patch::Json(serde_json::from_value(replace)?);
    case.lab.pods().patch(&name, &PatchParams::default(), &patch).await?;
    let report = job.end().await?;
    check(report.started_again.len() == 1, || format!("{:?}", report.started_again))?;
    lost(report, "somebody changed the Pod")
}

async fn a_pod_that_loses_its_labels_is_followed_to_its_end(case: Arc<Case>) -> Checked {
    let job = Running::start(&case).await?;
    let stripped = json!({"metadata": {"labels": {
        "longshore.dev/attempt": null, "longshore.dev/installation": null,
    }}});
    let (report, ended) = tokio::join!(job.end(), async {
        job.patch_pod(&case, stripped).await?;
        // The follower restores the labels; the watch had reported a deletion.
        while job.pod(&case).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        job.let_end()
    });
    ended?;
    let outcome = report?.outcome;
    check(outcome == ENDED, || format!("{outcome:?}"))
}

async fn a_cancel_without_annotations_is_a_cancel(case: Arc<Case>) -> Checked {
    let job = Running::start(&case).await?;
    let stripped = json!({"metadata": {"annotations": {
        "longshore.dev/commit": null, "longshore.dev/ending": null,
    }}});
    job.patch_job(&case, stripped.clone()).await?;
    let grace = job.attempt.spec.effective_grace_period().get();
    job.runner.cancel(&job.started.handle, grace).await?;
    job.patch_job(&case, stripped).await?;
    let outcome = job.end().await?.outcome;
    check(matches!(outcome, Outcome::Cancelled { .. }), || format!("{outcome:?}"))
}

async fn a_job_that_somebody_suspends_says_so(case: Arc<Case>) -> Checked {
    let job = Running::start(&case).await?;
    job.patch_job(&case, json!({"spec": {"suspend": true}})).await?;
    lost(job.end().await?, "somebody suspended the Job")
}

async fn a_job_whose_deadline_somebody_edits_says_so(case: Arc<Case>) -> Checked {
    let job = Running::start(&case).await?;
    job.patch_job(&case, json!({"spec": {"activeDeadlineSeconds": 1}})).await?;
    lost(job.end().await?, "somebody set the Job's activeDeadlineSeconds")
}

async fn an_orphaned_pod_is_followed_and_removed(case: Arc<Case>) -> Checked {
    let job = Running::start(&case).await?;
    let orphan = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    case.lab.jobs().delete(&job.attempt.object_name(), &orphan).await?;
    // Another process still finds the job.
    let found = || async {
        let handles = case.lab.runner().adopt(&case.installation).await?;
        // Its handle names the cluster too, which that of a launch without a target does not.
        Checked::Ok(handles.iter().map(|handle| &handle.attempt).eq([&job.attempt.id]))
    };
    while !found().await? {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    job.let_end()?;
    let outcome = job.end().await?.outcome;
    check(outcome == ENDED, || format!("{outcome:?}"))?;
    // The clean-up of the case fails if the Pod stays.
    job.runner.remove(&job.started.handle).await?;
    Ok(())
}

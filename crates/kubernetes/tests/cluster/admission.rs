//! Admission that denies or changes Longshore's objects.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use longshore_core::{
    ErrorKind, Event, LaunchContext, LaunchError, Outcome, RejectReason, Runner, RunnerName,
    Settled,
};
use longshore_kubernetes::KubernetesRunner;
use tokio::time::{Instant, timeout};

use crate::policy::{Policy, Target};
use crate::{Body, Case, Checked, PATIENCE, check, end, launch, output, refused};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![
        ("a_pod_that_admission_denies_is_denied_at_once", |c| {
            a_pod_that_admission_denies_is_denied_at_once(c).boxed()
        }),
        ("a_job_whose_container_was_renamed_is_followed_with_the_difference", |c| {
            a_job_whose_container_was_renamed_is_followed_with_the_difference(c).boxed()
        }),
        ("a_failing_init_container_is_no_proof_for_another_runner", |c| {
            a_failing_init_container_is_no_proof_for_another_runner(c).boxed()
        }),
        ("a_job_that_loses_its_annotation_is_never_released", |c| {
            a_job_that_loses_its_annotation_is_never_released(c).boxed()
        }),
        ("a_job_that_admission_releases_runs_once_and_is_followed", |c| {
            a_job_that_admission_releases_runs_once_and_is_followed(c).boxed()
        }),
        ("a_released_job_that_admission_breaks_is_taken_back_and_says_why", |c| {
            a_released_job_that_admission_breaks_is_taken_back_and_says_why(c).boxed()
        }),
        ("a_restart_policy_changed_by_admission_shows_as_a_second_start", |c| {
            a_restart_policy_changed_by_admission_shows_as_a_second_start(c).boxed()
        }),
        ("a_job_that_exceeds_a_deadline_of_admission_is_evicted", |c| {
            a_job_that_exceeds_a_deadline_of_admission_is_evicted(c).boxed()
        }),
        ("the_end_of_a_job_beside_a_sidecar_is_reported", |c| {
            the_end_of_a_job_beside_a_sidecar_is_reported(c, Beside::Ordinary).boxed()
        }),
        ("the_end_of_a_job_beside_a_native_sidecar_is_reported", |c| {
            the_end_of_a_job_beside_a_sidecar_is_reported(c, Beside::Native).boxed()
        }),
    ]
}

/// Runs `body` under `policy`, and removes the policy whatever the result.
async fn under<T>(policy: Policy, body: impl Future<Output = Checked<T>>) -> Checked<T> {
    let result = body.await;
    policy.remove().await?;
    result
}

async fn a_pod_that_admission_denies_is_denied_at_once(case: Arc<Case>) -> Checked {
    let policy = Policy::denying(&case, Target::Pods, "no Pods of this team").await?;
    under(policy, async {
        let attempt = case.script("true");
        let begun = Instant::now();
        let error = refused(launch(&case.lab.runner(), &attempt).await)?;
        // With `Unavailable`, the job ran as a local process.
        check(error.kind() == ErrorKind::Denied, || format!("{error:?}"))?;
        check(error.to_string().contains("no Pods of this team"), || error.to_string())?;
        check(begun.elapsed() < PATIENCE / 4, || format!("after {:?}", begun.elapsed()))
    })
    .await
}

async fn a_job_whose_container_was_renamed_is_followed_with_the_difference(
    case: Arc<Case>,
) -> Checked {
    let rename = r#"[JSONPatch{op: "replace", path: "/spec/containers/0/name", value: "x"}]"#;
    let policy = Policy::mutating(&case, Target::Pods, rename).await?;
    under(policy, async {
        let runner = case.lab.runner();
        let attempt = case.script("seq 3; exit 3");
        let (sender, mut heard) = tokio::sync::mpsc::channel(64);
        let mut context = LaunchContext::new(Instant::now() + PATIENCE);
        context.events = longshore_core::EventSink::new(sender);
        let started = runner.launch(&attempt, &context).await?;
        drop(context);
        let mut waits = Vec::new();
        while let Some(event) = heard.recv().await {
            if let Event::Waiting(why) = event {
                waits.push(why);
            }
        }
        let difference = "container `job` is now `x`";
        check(waits.iter().any(|why| why.contains(difference)), || format!("{waits:?}"))?;
        let (report, output) =
            tokio::join!(end(&runner, &started.handle), output(&runner, &started.handle));
        check(output? == b"1\n2\n3\n", || "other output".to_owned())?;
        let outcome = report?.outcome;
        check(outcome == Outcome::Exited { code: 3, signal: None }, || format!("{outcome:?}"))
    })
    .await
}

async fn a_failing_init_container_is_no_proof_for_another_runner(case: Arc<Case>) -> Checked {
    let add = format!(
        r#"[JSONPatch{{op: "add", path: "/spec/initContainers", value: []}},
            JSONPatch{{op: "add", path: "/spec/initContainers/-", value:
            Object.spec.initContainers{{name: "setup", image: "{}", command: ["false"]}}}}]"#,
        case.lab.image
    );
    let policy = Policy::mutating(&case, Target::Pods, &add).await?;
    under(policy, async {
        let runner = case.lab.runner();
        let attempt = case.script("true");
        match launch(&runner, &attempt).await {
            Err(LaunchError::Indeterminate(error)) => {
                check(error.to_string().contains("init container `setup`"), || error.to_string())?;
            }
            other => return Err(format!("not indeterminate: {other:?}").into()),
        }
        let handle = runner.handle(&attempt);
        let settled = runner.settle(&handle, Instant::now() + PATIENCE).await?;
        check(settled == Settled::MayHaveStarted, || format!("{settled:?}"))?;
        match end(&runner, &handle).await?.outcome {
            Outcome::Rejected { reason: RejectReason::ContainerConfig, message }
                if message.contains("init container `setup` ended with exit code 1") =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}").into()),
        }
    })
    .await
}

async fn a_job_that_loses_its_annotation_is_never_released(case: Arc<Case>) -> Checked {
    let drop = r#"[JSONPatch{op: "remove",
        path: "/metadata/annotations/" + jsonpatch.escapeKey("longshore.dev/commit")}]"#;
    let policy = Policy::mutating(&case, Target::Jobs, drop).await?;
    under(policy, async {
        let runner = case.lab.runner();
        let attempt = case.script("true");
        let error = refused(launch(&runner, &attempt).await)?;
        check(error.kind() == ErrorKind::Unsupported, || format!("{error:?}"))?;
        let gone = "annotation longshore.dev/commit is gone";
        check(error.to_string().contains(gone), || error.to_string())?;
        let pods = case.lab.pods().list(&case.pods()).await?.items;
        check(pods.is_empty(), || format!("{} Pods", pods.len()))
    })
    .await
}

/// A patch that releases a Job when it is created.
const RELEASE: &str = r#"JSONPatch{op: "replace", path: "/spec/suspend", value: false}"#;
/// A patch that lets a Job create its Pod, if it is not suspended.
const SCALE: &str = r#"JSONPatch{op: "replace", path: "/spec/parallelism", value: 1}"#;

/// Such a Job was deleted, perhaps while it ran, and reported as `Lost`.
async fn a_job_that_admission_releases_runs_once_and_is_followed(case: Arc<Case>) -> Checked {
    for patch in [format!("[{RELEASE}]"), format!("[{RELEASE}, {SCALE}]")] {
        let policy = Policy::mutating(&case, Target::Jobs, &patch).await?;
        under(policy, async {
            let runner = case.lab.runner();
            let (attempt, folder) = case.with_directory("echo run >> /job/output/runs; exit 3")?;
            let started = launch(&runner, &attempt).await;
            let started = started.map_err(|error| format!("{patch}: {error:?}"))?;
            let outcome = end(&runner, &started.handle).await?.outcome;
            let expected = Outcome::Exited { code: 3, signal: None };
            check(outcome == expected, || format!("{patch}: {outcome:?}"))?;
            let runs = std::fs::read_to_string(folder.path().join("output/runs"))?;
            check(runs == "run\n", || format!("{patch}: {runs:?}"))?;
            Ok(runner.remove(&started.handle).await?)
        })
        .await?;
    }
    Ok(())
}

async fn a_released_job_that_admission_breaks_is_taken_back_and_says_why(
    case: Arc<Case>,
) -> Checked {
    let retry = r#"JSONPatch{op: "replace", path: "/spec/backoffLimit", value: 6}"#;
    for patch in [format!("[{RELEASE}, {retry}]"), format!("[{RELEASE}, {SCALE}, {retry}]")] {
        let policy = Policy::mutating(&case, Target::Jobs, &patch).await?;
        under(policy, async {
            // No node takes the Pod, so what admission released cannot start.
            let mut config = case.lab.config();
            config.node_selector = [("longshore.dev/no-such-node".into(), "true".into())].into();
            let runner = KubernetesRunner::new(RunnerName::kubernetes(), config);
            let attempt = case.script("true");
            let error = refused(launch(&runner, &attempt).await)?;
            check(error.kind() == ErrorKind::Unsupported, || format!("{patch}: {error:?}"))?;
            let text = error.to_string();
            check(text.contains("spec.backoffLimit is now 6"), || format!("{patch}: {text}"))?;
            let left = case.lab.jobs().get_opt(&attempt.object_name()).await?;
            check(left.is_none_or(|job| job.metadata.deletion_timestamp.is_some()), || {
                format!("{patch}: the Job is still there")
            })
        })
        .await?;
    }
    Ok(())
}

async fn a_restart_policy_changed_by_admission_shows_as_a_second_start(case: Arc<Case>) -> Checked {
    let change = r#"[JSONPatch{op: "replace", path: "/spec/restartPolicy", value: "OnFailure"}]"#;
    let policy = Policy::mutating(&case, Target::Pods, change).await?;
    under(policy, async {
        let runner = case.lab.runner();
        // Each run writes a line, and the second run does not end.
        let script = "echo run >> /job/output/runs; \
                      [ $(wc -l < /job/output/runs) = 1 ] && exit 7; sleep 600";
        let (attempt, folder) = case.with_directory(script)?;
        let started = launch(&runner, &attempt).await?;
        let report = end(&runner, &started.handle).await?;
        let first = Outcome::Exited { code: 7, signal: None };
        check(report.outcome == first, || format!("{:?}", report.outcome))?;
        runner.remove(&started.handle).await?;
        case.clean_up().await?;
        let runs = std::fs::read_to_string(folder.path().join("output/runs"))?.lines().count();
        // The end may be known before the kubelet starts the container again.
        let seen = report.started_again.len() + 1;
        check(runs <= 2 && seen <= runs, || format!("{runs} runs, {seen} reported"))
    })
    .await
}

async fn a_job_that_exceeds_a_deadline_of_admission_is_evicted(case: Arc<Case>) -> Checked {
    let patch = r#"[JSONPatch{op: "add", path: "/spec/activeDeadlineSeconds", value: 8}]"#;
    for (target, whose) in [(Target::Jobs, "Job"), (Target::Pods, "Pod")] {
        let policy = Policy::mutating(&case, target, patch).await?;
        under(policy, async {
            let runner = case.lab.runner();
            let started = launch(&runner, &case.script("sleep 600")).await?;
            // Another process has not seen the Pod before it ended.
            let (own, other) = (end(&runner, &started.handle).await?, case.lab.runner());
            for report in [own, end(&other, &started.handle).await?] {
                let Outcome::Evicted { message } = &report.outcome else {
                    return Err(format!("{whose}: {report:?}").into());
                };
                let words = format!("admission set the {whose}'s activeDeadlineSeconds");
                check(message.starts_with(&words), || format!("{whose}: {message}"))?;
            }
            Ok(runner.remove(&started.handle).await?)
        })
        .await?;
    }
    Ok(())
}

/// How a sidecar runs beside the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    /// As an additional container.
    Ordinary,
    /// As an init container that always restarts.
    Native,
}

impl Beside {
    /// Returns the patch that adds a sidecar. Unless the sidecar is signalled, it never ends.
    fn patch(self, image: &longshore_core::ImageRef) -> String {
        let program = r#"command: ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.2; done"]"#;
        match self {
            Self::Ordinary => format!(
                r#"[JSONPatch{{op: "add", path: "/spec/containers/-", value:
                    Object.spec.containers{{name: "beside", image: "{image}", {program}}}}}]"#
            ),
            Self::Native => format!(
                r#"[JSONPatch{{op: "add", path: "/spec/initContainers", value: []}},
                    JSONPatch{{op: "add", path: "/spec/initContainers/-", value:
                    Object.spec.initContainers{{name: "beside", image: "{image}",
                    restartPolicy: "Always", {program}}}}}]"#
            ),
        }
    }
}

async fn the_end_of_a_job_beside_a_sidecar_is_reported(case: Arc<Case>, beside: Beside) -> Checked {
    let policy = Policy::mutating(&case, Target::Pods, &beside.patch(&case.lab.image)).await?;
    under(policy, async {
        let exited = |code| Outcome::Exited { code, signal: None };
        let forever = "trap 'exit 9' TERM; while :; do sleep 0.1; done";
        let plays = [
            ("exit 0", None, exited(0)),
            ("exit 5", None, exited(5)),
            // An exit code above 128 may mean a signal, and the runner waited for more evidence
            // without end.
            ("exit 200", None, exited(200)),
            (forever, Some(End::Timeout), Outcome::DeadlineExceeded { code: Some(9) }),
            (forever, Some(End::Cancel), Outcome::Cancelled { code: Some(9) }),
        ];
        let played =
            plays.map(|(script, ending, expected)| play(case.clone(), script, ending, expected));
        let played = join_all(played).await;
        played.into_iter().collect::<Checked<Vec<()>>>().map(drop)
    })
    .await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Timeout,
    Cancel,
}

async fn play(
    case: Arc<Case>,
    script: &'static str,
    ending: Option<End>,
    expected: Outcome,
) -> Checked {
    let runner = case.lab.runner();
    let mut attempt = case.script(script);
    let spec = Arc::make_mut(&mut attempt.spec);
    spec.grace_period = Some("2s".parse()?);
    if ending == Some(End::Timeout) {
        spec.timeout = Some("2s".parse()?);
    }
    let started = launch(&runner, &attempt).await?;
    if ending == Some(End::Cancel) {
        runner.cancel(&started.handle, Duration::from_secs(2)).await?;
    }
    let report = timeout(PATIENCE / 2, end(&runner, &started.handle)).await;
    let report = report.map_err(|_| format!("{script} {ending:?}: no end"))??;
    check(report.outcome == expected, || format!("{script} {ending:?}: {:?}", report.outcome))?;
    check(report.started_again.is_empty(), || format!("{:?}", report.started_again))?;
    // The rest of the Pod also ends, although nobody removes it.
    let handle = &started.handle;
    let again = timeout(PATIENCE / 2, end(&runner, handle)).await??;
    check(again.outcome == expected, || format!("asked again: {:?}", again.outcome))?;
    runner.remove(handle).await?;
    Ok(())
}

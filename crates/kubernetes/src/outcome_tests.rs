use k8s_openapi::api::core::v1::{Pod, PodSpec};
use serde_json::{Value, json};

use super::*;
use crate::job_view::JobView;
use crate::pod_spec_view::PodSpecView;

/// Returns a released Job of this attempt.
pub(crate) fn job() -> JobView {
    JobView {
        uid: "1".to_owned(),
        suspended: false,
        held: false,
        commit: Some(Commit::Committed),
        ending: Some(Ending::None),
        active_deadline: None,
        first_deadline: false,
        timeout: None,
        grace: 10,
        own_secret: false,
        template: template("r/x:1"),
        attempt: Some("a-1".to_owned()),
        installation: Some("i".to_owned()),
        tombstone: false,
        deleting: false,
        suspension_seen: false,
        over: None,
        failing: None,
        exit_code: None,
        foreign_owner: None,
    }
}

/// Returns the template of a Job for `image`.
fn template(image: &str) -> PodSpecView {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "job", "image": image}]});
    PodSpecView::from(&serde_json::from_value::<PodSpec>(spec).unwrap())
}

/// Returns a Pod with its container in `state`, as the API server represents it.
pub(crate) fn pod(meta: Value, phase: &str, state: Value, container_id: &str) -> PodView {
    pod_with(meta, json!({"phase": phase}), state, container_id)
}

fn pod_with(mut meta: Value, mut status: Value, state: Value, container_id: &str) -> PodView {
    for (key, value) in [("uid", "p"), ("name", "longshore-a-1-x")] {
        if meta[key].is_null() {
            meta[key] = json!(value);
        }
    }
    status["containerStatuses"] = json!([{
        "name": "job", "image": "r/x:1", "imageID": "r/x@sha256:ab", "ready": false,
        "restartCount": 0, "containerID": container_id, "state": state,
    }]);
    let container = json!({"name": "job", "image": "r/x:1", "imagePullPolicy": "Always"});
    let spec = json!({"restartPolicy": "Never", "containers": [container]});
    let pod: Pod =
        serde_json::from_value(json!({"metadata": meta, "spec": spec, "status": status})).unwrap();
    PodView::from(&pod)
}

/// Returns the snapshot of an attempt with `job` and `pods`.
pub(crate) fn snapshot(job: JobView, pods: impl IntoIterator<Item = PodView>) -> Snapshot {
    let mut all = Snapshot::default();
    all.apply_job(job);
    for pod in pods {
        all.apply_pod(pod);
    }
    all
}

fn ended(reason: &str, code: i32) -> Value {
    json!({"terminated": {
        "exitCode": code, "reason": reason, "message": "said",
        "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:05Z",
    }})
}

fn marked(ending: Ending) -> JobView {
    JobView { ending: Some(ending), ..job() }
}

fn concluded(snapshot: &Snapshot) -> Option<Report> {
    conclude(snapshot, Instant::now())
}

fn outcome(job: JobView, pod: PodView) -> Option<Outcome> {
    concluded(&snapshot(job, [pod])).map(|report| report.outcome)
}

fn kind(job: JobView, pod: PodView) -> &'static str {
    outcome(job, pod).as_ref().map_or("none yet", Outcome::kind)
}

const ID: &str = "containerd://a";

#[test]
fn a_container_that_ended_by_itself_gives_its_code_at_once() {
    for code in [0, 1, 42, 128] {
        let reason = if code == 0 { "Completed" } else { "Error" };
        let observed = outcome(job(), pod(json!({}), "Running", ended(reason, code), ID));
        assert_eq!(observed, Some(Outcome::Exited { code, signal: None }));
    }
    let report =
        concluded(&snapshot(job(), [pod(json!({}), "Running", ended("Completed", 0), ID)]));
    let report = report.unwrap();
    assert_eq!(report.started_at.unwrap().to_string(), "2026-01-01T00:00:00Z");
    assert_eq!(report.finished_at.unwrap().to_string(), "2026-01-01T00:00:05Z");
    let image = report.image.unwrap();
    assert_eq!(image.resolved.as_deref(), Some("sha256:ab"));
    assert_eq!(image.policy, PullPolicy::Always);
    assert_eq!(image.requested, "r/x:1");
}

#[test]
fn the_policy_in_force_is_the_one_after_admission_and_a_named_digest_stands() {
    let image_of = |named: &str| {
        let job = JobView { template: template(named), ..job() };
        // The admission plug-in `AlwaysPullImages` wrote the policy into the Pod.
        image(&snapshot(job, [pod(json!({}), "Running", ended("Completed", 0), ID)]))
    };
    let by_tag = image_of("r/x:1");
    assert_eq!(
        (by_tag.policy, by_tag.resolved.as_deref()),
        (PullPolicy::Always, Some("sha256:ab"))
    );
    assert_eq!(image_of("r/x@sha256:cd").resolved.as_deref(), Some("sha256:cd"));
}

#[test]
fn a_code_that_may_be_a_signals_waits_for_the_pods_reason() {
    for code in [137, 143] {
        assert_eq!(outcome(job(), pod(json!({}), "Running", ended("Error", code), ID)), None);
        let over = outcome(job(), pod(json!({}), "Failed", ended("Error", code), ID));
        assert_eq!(over, Some(Outcome::Exited { code, signal: None }));
    }
}

#[test]
fn out_of_memory_is_the_mark_and_the_code() {
    assert_eq!(kind(job(), pod(json!({}), "Failed", ended("OOMKilled", 137), ID)), "OutOfMemory");
    // The parent process survived its child, which the kernel killed.
    let survived = outcome(job(), pod(json!({}), "Failed", ended("OOMKilled", 3), ID));
    assert_eq!(survived, Some(Outcome::Exited { code: 3, signal: None }));
}

#[test]
fn what_we_ended_is_told_by_the_mark_and_the_kubelets_reason() {
    let expired = || {
        let status = json!({"phase": "Failed", "reason": "DeadlineExceeded"});
        pod_with(json!({}), status, ended("Error", 143), ID)
    };
    assert_eq!(
        outcome(marked(Ending::Cancelled), expired()),
        Some(Outcome::Cancelled { code: Some(143) })
    );
    assert_eq!(kind(marked(Ending::Deadline), expired()), "DeadlineExceeded");
    assert_eq!(kind(job(), expired()), "DeadlineExceeded", "Kubernetes' own backstop");
    // The job was marked, but ended before the kubelet acted on that.
    let by_itself = pod(json!({}), "Succeeded", ended("Completed", 0), ID);
    assert_eq!(
        outcome(marked(Ending::Cancelled), by_itself),
        Some(Outcome::Exited { code: 0, signal: None })
    );
    let too_early = pod(json!({}), "Running", ended("Error", 143), ID);
    assert_eq!(kind(marked(Ending::Cancelled), too_early), "none yet");
}

/// Returns the metadata of a Pod whose deletion was requested at `asked`, with a grace period of 10
/// s.
fn deleted_at(asked: &str) -> Value {
    let asked: Timestamp = asked.parse().unwrap();
    let at = asked + jiff::SignedDuration::from_secs(10);
    json!({"deletionTimestamp": at.to_string(), "deletionGracePeriodSeconds": 10})
}

#[test]
fn a_pod_that_somebody_deleted_is_lost_whatever_its_code() {
    for code in [0, 143] {
        let meta = deleted_at("2026-01-01T00:00:03Z");
        assert_eq!(kind(job(), pod(meta.clone(), "Failed", ended("Error", code), ID)), "Lost");
        let ours = pod(meta, "Failed", ended("Error", code), ID);
        assert_eq!(kind(marked(Ending::Cancelled), ours), "Cancelled");
    }
    // The container had ended before the deletion.
    let meta = deleted_at("2026-01-01T00:00:09Z");
    assert_eq!(kind(job(), pod(meta, "Succeeded", ended("Completed", 0), ID)), "Exited");
}

/// The job's code was reported as that of a job that had ended by itself, even if it was 0.
#[test]
fn a_pod_that_somebody_deleted_is_lost_though_its_nodes_clock_is_behind() {
    let deleted = |asked: &str, started: &str| {
        let mut meta = deleted_at(asked);
        meta["creationTimestamp"] = json!("2026-01-01T00:01:00Z");
        let status = json!({"phase": "Failed", "startTime": started});
        pod_with(meta, status, ended("Error", 0), ID)
    };
    // The node started the Pod a minute before the API server created it. By the API server's clock,
    // the container ended at 00:01:05.
    assert_eq!(kind(job(), deleted("2026-01-01T00:01:03Z", "2026-01-01T00:00:00Z")), "Lost");
    assert_eq!(kind(job(), deleted("2026-01-01T00:01:09Z", "2026-01-01T00:00:00Z")), "Exited");
    // The clocks agree.
    assert_eq!(kind(job(), deleted("2026-01-01T00:01:03Z", "2026-01-01T00:01:00Z")), "Exited");
}

#[test]
fn what_the_cluster_takes_away_is_evicted() {
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low"});
    let observed = outcome(job(), pod_with(json!({}), evicted, ended("Error", 137), ID));
    assert_eq!(
        observed,
        Some(Outcome::Evicted { message: "Evicted: The node was low".to_owned() })
    );
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
        "lastTransitionTime": "2026-01-01T00:00:02Z",
    });
    let preempted = json!({"phase": "Failed", "conditions": [condition]});
    let meta = deleted_at("2026-01-01T00:00:02Z");
    assert_eq!(kind(job(), pod_with(meta, preempted, ended("Error", 0), ID)), "Evicted");
}

/// Whether the job had succeeded or not, it was reported as one that exited with 255.
#[test]
fn a_255_that_containerd_wrote_after_its_node_was_restarted_is_made_up() {
    let report = concluded(&snapshot(job(), [pod(json!({}), "Failed", ended("Unknown", 255), ID)]));
    let report = report.unwrap();
    assert_eq!(report.outcome.kind(), "Lost");
    assert_eq!(report.finished_at, None);
    assert_eq!(kind(job(), pod(json!({}), "Failed", ended("Error", 255), ID)), "Exited");
}

#[test]
fn what_cannot_be_known_is_lost() {
    let unknown = ended("ContainerStatusUnknown", 137);
    assert_eq!(kind(job(), pod(json!({}), "Failed", unknown, ID)), "Lost");
    let mut gone = snapshot(job(), [pod(json!({}), "Running", json!({"running": {}}), ID)]);
    assert_eq!(concluded(&gone), None);
    for presence in [Presence::Deleted, Presence::Vanished] {
        gone.pods[0].presence = presence;
        assert_eq!(concluded(&gone).unwrap().outcome.kind(), "Lost");
    }
    let mut no_job = Snapshot::default();
    assert_eq!(concluded(&no_job), None);
    no_job.remove_job(None);
    assert_eq!(concluded(&no_job).unwrap().outcome.kind(), "Lost");
}

#[test]
fn a_pod_without_any_container_never_ran() {
    // Observed after the deletion of a Pod that could not pull its image.
    let never = ended("ContainerStatusUnknown", 137);
    let meta = deleted_at("2026-01-01T00:00:01Z");
    assert_eq!(
        outcome(marked(Ending::Cancelled), pod(meta, "Failed", never, "")),
        Some(Outcome::Cancelled { code: None })
    );
    let refused = json!({"phase": "Failed", "reason": "OutOfcpu"});
    assert_eq!(kind(job(), pod_with(json!({}), refused, json!({}), "")), "Rejected");
}

#[test]
fn a_fenced_attempt_ends_without_having_run() {
    let closed = JobView { commit: Some(Commit::Closed), suspended: true, ..job() };
    assert_eq!(concluded(&snapshot(closed.clone(), [])).unwrap().outcome.kind(), "Lost");
    let cancelled = JobView { ending: Some(Ending::Cancelled), ..closed };
    let report = concluded(&snapshot(cancelled, [])).unwrap();
    assert_eq!(report.outcome, Outcome::Cancelled { code: None });
    let open = JobView { commit: Some(Commit::Open), suspended: true, ..job() };
    assert_eq!(concluded(&snapshot(open, [])), None);
}

#[test]
fn the_code_of_a_cancelled_job_is_known_though_its_pod_is_gone() {
    let status = |condition: Value| {
        let job = json!({"metadata": {}, "status": {"conditions": [condition]}});
        JobView::from(&serde_json::from_value::<k8s_openapi::api::batch::v1::Job>(job).unwrap())
    };
    let failed = status(json!({
        "type": "Failed", "status": "True", "reason": "PodFailurePolicy",
        "message": "Container job for pod n/x failed with exit code 7 matching FailJob rule at index 0",
    }));
    let complete = status(json!({"type": "Complete", "status": "True"}));
    for (view, code) in [(failed, 7), (complete, 0)] {
        let of = |ending| {
            let job = JobView { ending: Some(ending), ..view.clone() };
            concluded(&snapshot(job, [])).unwrap().outcome
        };
        assert_eq!(of(Ending::Cancelled), Outcome::Cancelled { code: Some(code) });
        assert_eq!(of(Ending::Deadline), Outcome::DeadlineExceeded { code: Some(code) });
        // Another client may have deleted the Pod while it ran.
        assert_eq!(of(Ending::None).kind(), "Lost");
    }
}

#[test]
fn a_second_pod_of_the_job_that_started_is_told() {
    let of = |job: &str, name: &str, state: Value, id: &str| {
        let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "a", "uid": job});
        let meta = json!({"uid": name, "name": name, "ownerReferences": [owner]});
        pod(meta, "Running", state, id)
    };
    let running = || json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
    let waiting = json!({"waiting": {"reason": "ContainerCreating"}});
    let first = of("1", "x", ended("Completed", 0), "containerd://1");
    let all = snapshot(
        job(),
        [
            first.clone(),
            of("1", "y", running(), "containerd://2"),
            of("1", "waits", waiting, ""),
            of("2", "another-jobs", running(), "containerd://3"),
        ],
    );
    let report = concluded(&all).unwrap();
    assert_eq!(report.outcome, Outcome::Exited { code: 0, signal: None });
    assert_eq!(report.started_again, ["y"]);
    assert_eq!(concluded(&snapshot(job(), [first])).unwrap().started_again, [""; 0]);
}

#[test]
fn a_lost_job_that_started_twice_says_so() {
    let lost = || Outcome::Lost { message: "gone".to_owned() };
    assert_eq!(note_second_start(&[], lost()), lost());
    let Outcome::Lost { message } = note_second_start(&["y".to_owned()], lost()) else { panic!() };
    assert_eq!(message, "gone (Kubernetes started it 2 times)");
}

/// A running sidecar kept the Pod from ending, and an exit code above 128 was never reported.
#[test]
fn a_sidecar_that_runs_on_does_not_hide_the_jobs_end() {
    let mut beside = pod(json!({}), "Running", ended("Error", 137), ID);
    beside.others_run = true;
    let all = snapshot(job(), [beside]);
    assert_eq!(concluded(&all), None, "the reason may still come");
    let until = undecided_until(&all).unwrap();
    assert!(until <= Instant::now() + Duration::from_secs(10) + REASON_SLACK);
    let report = conclude(&all, until).unwrap();
    assert_eq!(report.outcome, Outcome::Exited { code: 137, signal: None });
    let mut out_of_memory = pod(json!({}), "Running", ended("OOMKilled", 137), ID);
    out_of_memory.others_run = true;
    let report = conclude(&snapshot(job(), [out_of_memory]), until + REASON_SLACK).unwrap();
    assert_eq!(report.outcome.kind(), "OutOfMemory");
}

#[test]
fn what_ends_a_sidecar_after_the_job_changes_nothing_of_the_jobs_outcome() {
    let status = json!({
        "phase": "Failed", "reason": "DeadlineExceeded", "startTime": "2025-12-31T23:59:50Z",
    });
    let mut ours = pod_with(json!({}), status.clone(), ended("Completed", 0), ID);
    ours.mark = Some(Ending::Over);
    assert_eq!(kind(job(), ours), "Exited", "Longshore ended what was left");
    let mut backstop = pod_with(json!({}), status, ended("Completed", 0), ID);
    backstop.active_deadline = Some(60);
    backstop.expires = Some("2026-01-01T00:00:50Z".parse().unwrap());
    let timed = JobView { active_deadline: Some(60), ..job() };
    assert_eq!(kind(timed.clone(), backstop.clone()), "Exited", "it ended before its deadline");
    backstop.expires = Some("2026-01-01T00:00:04Z".parse().unwrap());
    assert_eq!(kind(timed, backstop), "DeadlineExceeded");
}

/// A cancel became DeadlineExceeded after another client had removed the Job's annotations.
#[test]
fn a_cancel_is_known_by_the_pod_though_the_jobs_annotations_are_gone() {
    let status = json!({"phase": "Failed", "reason": "DeadlineExceeded"});
    let mut expired = pod_with(json!({}), status, ended("Error", 143), ID);
    expired.mark = Some(Ending::Cancelled);
    let stripped = JobView { commit: None, ending: None, ..job() };
    assert_eq!(outcome(stripped, expired), Some(Outcome::Cancelled { code: Some(143) }));
}

#[test]
fn who_ended_the_job_is_named() {
    let message = |job: JobView, pod: PodView| match outcome(job, pod) {
        Some(Outcome::Lost { message }) => message,
        other => panic!("{other:?}"),
    };
    let deleted = || pod(deleted_at("2026-01-01T00:00:03Z"), "Failed", ended("Error", 143), ID);
    assert_eq!(message(job(), deleted()), "somebody deleted the Pod");
    let suspended = JobView { suspended: true, ..job() };
    assert!(message(suspended, deleted()).starts_with("somebody suspended the Job"));
    let withdrawn = JobView { commit: Some(Commit::Withdrawn), suspended: true, ..job() };
    assert!(message(withdrawn, deleted()).starts_with("Longshore deleted the Pod"));
    let over = Some("DeadlineExceeded: Job was active longer than specified deadline".to_owned());
    let limited = JobView { failing: over, ..job() };
    assert!(message(limited, deleted()).contains("activeDeadlineSeconds"));
    let status = json!({"phase": "Failed", "reason": "DeadlineExceeded"});
    let mut edited = pod_with(json!({}), status, ended("Error", 143), ID);
    edited.active_deadline = Some(5);
    assert_eq!(message(job(), edited), "somebody set the Pod's activeDeadlineSeconds to 5");
}

/// A cluster whose policy limits how long a Job or Pod runs seemed to have lost the jobs that it ended.
#[test]
fn a_job_that_exceeds_a_deadline_of_admission_was_lost() {
    let message =
        |job: JobView, pod: Option<PodView>| match conclude(&snapshot(job, pod), Instant::now())
            .map(|report| report.outcome)
        {
            Some(Outcome::Evicted { message }) => message,
            other => panic!("{other:?}"),
        };
    let status = json!({"phase": "Failed", "reason": "DeadlineExceeded"});
    let mut limited = pod_with(json!({}), status, ended("Error", 143), ID);
    limited.active_deadline = Some(5);
    limited.first_deadline = true;
    let said = message(job(), Some(limited));
    assert_eq!(said, "admission set the Pod's activeDeadlineSeconds to 5, and the job ran longer");
    let over = Some("DeadlineExceeded: Job was active longer than specified deadline".to_owned());
    let deleted = pod(deleted_at("2026-01-01T00:00:03Z"), "Failed", ended("Error", 143), ID);
    let failing = JobView { failing: over.clone(), first_deadline: true, ..job() };
    let failed = JobView { over, first_deadline: true, ..job() };
    for said in [message(failing, Some(deleted)), message(failed, None)] {
        assert!(said.starts_with("admission set the Job's activeDeadlineSeconds: Dead"), "{said}");
    }
}

/// A changed image or restartPolicy ran the job again, and nothing reported it.
#[test]
fn a_container_that_was_started_again_is_reported_with_the_end_of_the_first_run() {
    let restarted = |policy: &str, restarts: i32| {
        let mut view = pod(json!({}), "Running", json!({"running": {}}), "containerd://b");
        let spec = json!({"restartPolicy": policy, "containers": [
            {"name": "job", "image": "r/x:1"}]});
        view.spec = PodSpecView::from(&serde_json::from_value::<PodSpec>(spec).unwrap());
        view.container.restarts = restarts;
        view.container.before =
            Some(Terminated { code: 3, reason: "Error".to_owned(), ..Terminated::default() });
        view
    };
    let by_policy = concluded(&snapshot(job(), [restarted("OnFailure", 1)])).unwrap();
    assert_eq!(by_policy.outcome, Outcome::Exited { code: 3, signal: None });
    assert_eq!(by_policy.started_again.len(), 1, "{:?}", by_policy.started_again);
    let by_change = concluded(&snapshot(job(), [restarted("Never", 1)])).unwrap();
    assert_eq!(by_change.outcome.kind(), "Lost", "a changed image ended the first run");
    let unseen = concluded(&snapshot(job(), [restarted("OnFailure", 2)])).unwrap();
    assert_eq!(unseen.outcome.kind(), "Lost", "the first end is not in the status any more");
    let mut followed = snapshot(job(), [restarted("OnFailure", 1)]);
    followed.apply_pod(restarted("OnFailure", 2));
    let report = concluded(&followed).unwrap();
    assert_eq!(report.outcome, Outcome::Exited { code: 3, signal: None }, "it was seen before");
}

/// With a failing init container, the missing status counted as proof that nothing ran, and the
/// next runner started the job.
#[test]
fn a_pod_that_failed_before_its_container_says_why() {
    let status = json!({
        "phase": "Failed",
        "initContainerStatuses": [{
            "name": "setup", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 1, "reason": "Error"}},
        }],
    });
    let waits = json!({"waiting": {"reason": "PodInitializing"}});
    let Some(Outcome::Rejected { reason, message }) =
        outcome(job(), pod_with(json!({}), status, waits, ""))
    else {
        panic!()
    };
    assert_eq!(reason, RejectReason::ContainerConfig);
    for words in ["init container `setup` ended with exit code 1", "PodInitializing"] {
        assert!(message.contains(words), "{message}");
    }
    // The status does not mention the container, and the Pod garbage collector wrote the phase.
    let mut silent = pod(json!({}), "Failed", json!({}), "");
    silent.container = crate::container_view::ContainerView::default();
    assert_eq!(kind(job(), silent), "Lost");
}

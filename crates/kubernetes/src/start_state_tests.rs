use std::sync::Arc;

use longshore_core::ImageReason;

use super::*;
use k8s_openapi::api::core::v1::{Pod, PodSpec};

use crate::job_view::JobView;
use crate::outcome::tests::{job, pod, snapshot};
use crate::pod_spec_view::PodSpecView;
use crate::snapshot::ObservedPod;

fn waiting_for(reason: &str, message: &str) -> StartState {
    let state = serde_json::json!({"waiting": {"reason": reason, "message": message}});
    start_state(&snapshot(job(), [pod(serde_json::json!({}), "Pending", state, "")]))
}

#[test]
fn a_waiting_container_is_hopeless_only_where_waiting_does_not_help() {
    use ErrorKind::{ImageUnavailable, Rejected};
    let hopeless = |reason: &str, message: &str| match waiting_for(reason, message) {
        StartState::Hopeless(kind, _) => kind,
        other => panic!("{reason} {message}: {other:?}"),
    };
    let config = Rejected(RejectReason::ContainerConfig);
    assert_eq!(hopeless("ErrImageNeverPull", "…"), ImageUnavailable(ImageReason::NotPresent));
    assert_eq!(hopeless("ErrImagePull", "x: not found"), ImageUnavailable(ImageReason::NotFound));
    assert_eq!(hopeless("CreateContainerConfigError", "secret \"x\" not found"), config);
    assert_eq!(
        hopeless("CreateContainerError", "executable file not found in $PATH"),
        Rejected(RejectReason::CommandNotFound)
    );
    for (reason, message) in [
        ("ContainerCreating", ""),
        ("ErrImagePull", "dial tcp: connect: connection refused"),
        ("CreateContainerConfigError", "failed to sync secret cache: timed out waiting"),
        ("CreateContainerError", "context deadline exceeded"),
    ] {
        assert_eq!(waiting_for(reason, message), StartState::Waiting, "{reason} {message}");
    }
}

/// On a busy node, a job whose login existed was refused.
#[test]
fn a_login_that_the_kubelet_had_not_got_yet_is_no_refusal() {
    let denied = "failed to resolve image: pull access denied: no basic auth credentials";
    let state = serde_json::json!({"waiting": {"reason": "ErrImagePull", "message": denied}});
    let heard = |secrets: Option<&str>, own_secret: bool, pulls: usize| {
        let waits = pod(serde_json::json!({}), "Pending", state.clone(), "");
        let mut all =
            snapshot(JobView { own_secret, ..job() }, [PodView { scheduled: true, ..waits }]);
        for _ in 0..pulls {
            if let Some(secrets) = secrets {
                let warning = format!("Unable to retrieve some image pull secrets ({secrets}); …");
                all.apply_event(true, "FailedToRetrieveImagePullSecret", &warning);
            }
            all.apply_event(false, "Pulling", "Pulling image \"x\"");
            all.apply_event(true, "Failed", &format!("Failed to pull image \"x\": {denied}"));
        }
        all
    };
    let without = ImageWait::WithoutLogin(ImageReason::Denied, denied.to_owned());
    for (secrets, pulls) in [("longshore-a-1", 1), ("team, longshore-a-1", 1), ("longshore-a-1", 3)]
    {
        let mut missed = heard(Some(secrets), true, pulls);
        assert_eq!(start_state(&missed), StartState::Waiting, "{secrets} {pulls}");
        assert_eq!(image_wait(&missed, false), Some(without.clone()));
        // The second pull is running: 11 of 112 such jobs were killed while it succeeded.
        missed.apply_event(false, "Pulling", "Pulling image \"x\"");
        assert_eq!(start_state(&missed), StartState::Waiting, "{secrets} {pulls}");
    }
    let refused = ErrorKind::ImageUnavailable(ImageReason::Denied);
    for definite in [
        heard(None, true, 1),
        heard(Some("team"), true, 1),
        heard(Some("longshore-a-10"), true, 1),
        heard(Some("longshore-a-1"), false, 1),
    ] {
        let StartState::Hopeless(kind, _) = start_state(&definite) else { panic!("{definite:?}") };
        assert_eq!(kind, refused);
    }
}

#[test]
fn an_own_secret_that_the_kubelet_does_not_know_yet_is_no_refusal() {
    let waits = |name: &str| {
        let message = format!("secret \"{name}\" not found");
        let reason = "CreateContainerConfigError";
        let state = serde_json::json!({"waiting": {"reason": reason, "message": message}});
        let waits = pod(serde_json::json!({}), "Pending", state, "");
        start_state(&snapshot(JobView { own_secret: true, ..job() }, [waits]))
    };
    assert_eq!(waits("longshore-a-1"), StartState::Waiting);
    assert!(matches!(waits("team"), StartState::Hopeless(ErrorKind::Rejected(_), _)));
}

/// If admission renamed the container or added a failing init container, the missing status counted
/// as proof that nothing ran.
#[test]
fn no_evidence_about_the_container_is_never_proof() {
    use crate::container_view::ContainerView;
    let failed = |change: fn(&mut PodView)| {
        let mut view = pod(serde_json::json!({}), "Failed", serde_json::json!({}), "");
        view.scheduled = true;
        change(&mut view);
        let all = snapshot(job(), [view]);
        (start_state(&all), never_started(&all))
    };
    let (silent, proven) = failed(|pod| pod.container = ContainerView::default());
    assert!(matches!(silent, StartState::Over(_)), "{silent:?}");
    assert_eq!(proven, Some(false));
    let (renamed, proven) = failed(|pod| {
        let spec = serde_json::json!({"restartPolicy": "Never", "containers": [
            {"name": "x", "image": "r/x:1"}]});
        pod.spec = PodSpecView::from(&serde_json::from_value::<PodSpec>(spec).unwrap());
    });
    let StartState::Over(why) = renamed else { panic!("{renamed:?}") };
    assert!(why.contains("container `job` is now `x`"), "{why}");
    assert_eq!(proven, Some(false));
    let (refused, proven) = failed(|pod| {
        pod.refused = true;
        pod.container = ContainerView::default();
        "OutOfcpu".clone_into(&mut pod.reason);
    });
    let saturated = StartState::NeverRan(ErrorKind::Saturated, "OutOfcpu".to_owned());
    assert_eq!(refused, saturated, "the kubelet itself refused the Pod");
    assert_eq!(proven, Some(true));
}

#[test]
fn only_the_kubelets_own_refusal_counts_as_one() {
    let refused = |status: serde_json::Value| {
        let pod = serde_json::json!({
            "metadata": {"uid": "p", "name": "longshore-a-1-x"},
            "spec": {"nodeName": "n", "containers": [{"name": "job"}]}, "status": status,
        });
        PodView::from(&serde_json::from_value::<Pod>(pod).unwrap()).refused
    };
    let words = "Pod was rejected: Node didn't have enough resource: cpu";
    assert!(refused(serde_json::json!({
        "phase": "Failed", "reason": "OutOfcpu", "message": words
    })));
    for other in [
        serde_json::json!({"phase": "Failed"}),
        serde_json::json!({"phase": "Pending", "reason": "OutOfcpu", "message": words}),
        serde_json::json!({"phase": "Failed", "reason": "NodeLost", "message": "gone"}),
        serde_json::json!({"phase": "Failed", "reason": "OutOfcpu", "message": words,
            "containerStatuses": [{"name": "job", "image": "x", "imageID": "", "ready": false,
                "restartCount": 0}]}),
    ] {
        assert!(!refused(other.clone()), "{other}");
    }
}

#[test]
fn a_command_that_the_runtime_refuses_never_ran() {
    let end = serde_json::json!({"terminated": {
        "exitCode": 128, "reason": "StartError", "containerID": "containerd://a",
        "message": "exec: \"nope\": executable file not found in $PATH: unknown",
    }});
    let refused = start_state(&snapshot(
        job(),
        [pod(serde_json::json!({}), "Pending", end, "containerd://a")],
    ));
    let StartState::NeverRan(kind, _) = refused else { panic!("{refused:?}") };
    assert_eq!(kind, ErrorKind::Rejected(RejectReason::CommandNotFound));
}

#[test]
fn a_deadline_is_told_by_what_was_waited_for() {
    let at = |state: serde_json::Value| {
        at_deadline(&snapshot(job(), [pod(serde_json::json!({}), "Pending", state, "")]), None).0
    };
    assert_eq!(
        at(serde_json::json!({"waiting": {"reason": "ContainerCreating"}})),
        ErrorKind::Unavailable
    );
    let nobody = snapshot(job(), []);
    assert_eq!(
        at_deadline(&nobody, Some("pods is forbidden: exceeded quota: q")).0,
        ErrorKind::Saturated
    );
    assert_eq!(at_deadline(&nobody, Some("violates PodSecurity: forbidden")).0, ErrorKind::Denied);
    let webhook = "admission webhook \"p\" denied the request: no";
    assert_eq!(at_deadline(&nobody, Some(webhook)).0, ErrorKind::Denied, "it ran as a process");
    let mut full =
        snapshot(job(), [pod(serde_json::json!({}), "Pending", serde_json::json!({}), "")]);
    let mut view = (*full.pods[0].pod).clone();
    view.scheduled = false;
    view.unschedulable =
        Some("Unschedulable: 0/1 nodes are available: Insufficient cpu".to_owned());
    full.pods = vec![ObservedPod { pod: Arc::new(view), presence: Presence::Here }];
    assert_eq!(at_deadline(&full, None).0, ErrorKind::Saturated);
}

#[test]
fn only_a_pod_with_a_node_waits_for_its_image() {
    let waits = |reason: &str, message: &str, change: fn(&mut PodView, &mut Snapshot)| {
        let state = serde_json::json!({"waiting": {"reason": reason, "message": message}});
        let mut view = pod(serde_json::json!({}), "Pending", state, "");
        view.scheduled = true;
        let mut all = snapshot(job(), []);
        change(&mut view, &mut all);
        all.apply_pod(view);
        all
    };
    let creating = |change| waits("ContainerCreating", "", change);
    assert_eq!(image_wait(&snapshot(job(), []), true), None, "no Pod");
    assert_eq!(image_wait(&creating(|pod, _| pod.scheduled = false), true), None, "no node");
    assert_eq!(image_wait(&creating(|_, _| {}), false), None, "its volumes, perhaps");
    assert_eq!(image_wait(&creating(|_, _| {}), true), Some(ImageWait::Silent));
    let never = creating(|pod, _| pod.policy = Some(PullPolicy::Never));
    assert_eq!(image_wait(&never, true), None);
    let pulling = creating(|_, all| all.apply_event(false, "Pulling", "Pulling image \"x\""));
    assert_eq!(image_wait(&pulling, false), Some(ImageWait::Silent));
    let refused = "dial tcp: connect: connection refused";
    let failing = Some(ImageWait::Failing(refused.to_owned()));
    assert_eq!(image_wait(&waits("ErrImagePull", refused, |_, _| {}), false), failing);
    // The kubelet tries once more; its last message still counts.
    let mut again = waits("ErrImagePull", refused, |_, _| {});
    again.apply_event(false, "Pulling", "Pulling image \"x\"");
    assert_eq!(image_wait(&again, false), failing);
    again.apply_event(false, "Pulled", "Successfully pulled image \"x\" in 1s");
    again.apply_pod(creating(|_, _| {}).pods[0].pod.as_ref().clone());
    assert_eq!(image_wait(&again, false), None, "it is there");
}

#[test]
fn a_definite_failure_is_believed_from_the_event_that_comes_first() {
    let state = serde_json::json!({"waiting": {"reason": "ContainerCreating"}});
    let mut all = snapshot(job(), [pod(serde_json::json!({}), "Pending", state, "")]);
    assert_eq!(start_state(&all), StartState::Waiting);
    all.apply_event(true, "Failed", "Failed to pull image \"x\": x: not found");
    let kind = ErrorKind::ImageUnavailable(ImageReason::NotFound);
    assert_eq!(start_state(&all), StartState::Hopeless(kind, "x: not found".to_owned()));
    let never = r#"Container image "x" is not present with pull policy of Never"#;
    all.apply_event(true, "ErrImageNeverPull", never);
    let not_present = ErrorKind::ImageUnavailable(ImageReason::NotPresent);
    assert!(matches!(start_state(&all), StartState::Hopeless(kind, _) if kind == not_present));
    all.apply_event(true, "Failed", "Failed to pull image \"x\": 503 Service Unavailable");
    assert_eq!(start_state(&all), StartState::Waiting);
}

#[test]
fn that_a_pod_never_started_is_believed_only_with_a_proof() {
    let none = serde_json::json!({});
    let created = serde_json::json!({"waiting": {"reason": "ContainerCreating"}});
    let deleted = serde_json::json!({
        "deletionTimestamp": "2026-01-01T00:00:10Z", "deletionGracePeriodSeconds": 10
    });
    let confirmed = serde_json::json!({
        "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0
    });
    let one = |meta: &serde_json::Value, phase: &str, id: &str| {
        let mut all = snapshot(job(), [pod(meta.clone(), phase, created.clone(), id)]);
        let mut view = (*all.pods[0].pod).clone();
        view.scheduled = true;
        all.pods = vec![ObservedPod { pod: Arc::new(view), presence: Presence::Here }];
        all
    };
    assert_eq!(never_started(&one(&none, "Pending", "")), None);
    assert_eq!(never_started(&one(&deleted, "Pending", "")), None, "18 of 20 such Pods started");
    assert_eq!(never_started(&one(&confirmed, "Failed", "")), Some(true));
    assert_eq!(never_started(&one(&confirmed, "Failed", "containerd://a")), Some(false));
    let mut gone = one(&deleted, "Pending", "");
    gone.pods[0].presence = Presence::Deleted;
    assert_eq!(never_started(&gone), Some(true));
    gone.pods[0].presence = Presence::Vanished;
    assert_eq!(never_started(&gone), Some(false), "its last status was not seen");
    // A Pod that is being deleted never gets a node.
    let mut homeless = one(&deleted, "Pending", "");
    let mut view = (*homeless.pods[0].pod).clone();
    view.scheduled = false;
    homeless.pods = vec![ObservedPod { pod: Arc::new(view), presence: Presence::Here }];
    assert_eq!(never_started(&homeless), Some(true));
    // An unreachable node may have started the container.
    let mut lost = one(&confirmed, "Failed", "");
    let mut view = (*lost.pods[0].pod).clone();
    view.disruption = Some(("DeletionByTaintManager".to_owned(), None));
    lost.pods = vec![ObservedPod { pod: Arc::new(view), presence: Presence::Deleted }];
    assert_eq!(never_started(&lost), Some(false));
    let mut suspended = snapshot(job(), []);
    assert_eq!(never_started(&suspended), None, "a Pod may be on its way");
    let mut view = job();
    view.suspended = true;
    view.suspension_seen = true;
    suspended.job = Some(Arc::new(view));
    assert_eq!(never_started(&suspended), Some(true));
}

/// The launch of such a Job waited for a Pod until its start deadline.
#[test]
fn a_released_job_that_another_controller_holds_back_is_hopeless_at_once() {
    for (suspended, change) in [(true, "spec.suspend is true"), (false, "spec.parallelism is 0")] {
        let held = JobView { suspended, held: true, ..job() };
        let StartState::Hopeless(ErrorKind::Unsupported, why) = start_state(&snapshot(held, []))
        else {
            panic!("{change}")
        };
        assert!(why.contains(change), "{why}");
        let open = JobView { suspended, held: true, commit: Some(Commit::Open), ..job() };
        assert_eq!(start_state(&snapshot(open, [])), StartState::Waiting, "not yet released");
    }
}

/// Returns a Pod that was deleted at generation 2, as the API server represents it.
fn deleted_pod(observed: Option<i64>, statuses: serde_json::Value) -> PodView {
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {
            "uid": "p", "name": "longshore-a-1-x", "generation": 2,
            "deletionTimestamp": "2026-01-01T00:00:10Z", "deletionGracePeriodSeconds": 10,
        },
        "spec": {"nodeName": "n", "containers": [{"name": "job"}]},
        "status": {
            "phase": "Pending", "observedGeneration": observed, "containerStatuses": statuses,
        },
    }))
    .unwrap();
    PodView::from(&pod)
}

#[test]
fn a_kubelet_that_has_begun_to_end_a_pod_proves_what_it_says_of_the_container() {
    let status = |id: &str, last: serde_json::Value| {
        serde_json::json!([{
            "name": "job", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
            "containerID": id, "state": {"waiting": {"reason": "ContainerCreating"}},
            "lastState": last,
        }])
    };
    let none = serde_json::json!({});
    let proven =
        |observed, statuses| never_started(&snapshot(job(), [deleted_pod(observed, statuses)]));
    assert_eq!(proven(Some(2), status("", none.clone())), Some(true));
    assert_eq!(proven(Some(3), status("", none.clone())), Some(true), "it was changed once more");
    assert_eq!(proven(Some(1), status("", none.clone())), None, "reported before the deletion");
    assert_eq!(proven(None, status("", none.clone())), None, "a kubelet before 1.34");
    assert_eq!(proven(Some(2), serde_json::json!([])), None, "nothing is said of the container");
    assert_eq!(proven(Some(2), status("containerd://a", none)), Some(false));
    let lost =
        serde_json::json!({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}});
    assert_eq!(proven(Some(2), status("", lost)), Some(false), "it ran, and the node lost it");
}

#[test]
fn a_generation_without_a_deletion_proves_nothing() {
    let waiting = serde_json::json!([{
        "name": "job", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ErrImagePull"}},
    }]);
    let pod: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"uid": "p", "name": "longshore-a-1-x", "generation": 2},
        "spec": {"nodeName": "n", "containers": [{"name": "job"}]},
        "status": {"phase": "Pending", "observedGeneration": 2, "containerStatuses": waiting},
    }))
    .unwrap();
    assert_eq!(never_started(&snapshot(job(), [PodView::from(&pod)])), None);
}

#[test]
fn each_step_is_told_once() {
    let mut reporter = EventReporter::default();
    let running = serde_json::json!({"running": {"startedAt": "2026-01-01T00:00:01Z"}});
    let mut all =
        snapshot(job(), [pod(serde_json::json!({}), "Running", running, "containerd://a")]);
    let mut view = (*all.pods[0].pod).clone();
    view.scheduled = true;
    all.pods = vec![ObservedPod { pod: Arc::new(view), presence: Presence::Here }];
    let events = reporter.new_events(&all);
    let [Event::Scheduled, Event::Pulled, Event::Started(Some(_)), Event::Running] =
        events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert_eq!(reporter.new_events(&all), []);
}

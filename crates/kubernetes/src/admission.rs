//! Checks whether the Job that the API server created has what Longshore's protocol relies on.
//! Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::pod_spec_view::PodSpecView;

/// The prefix of Longshore's own labels and annotations.
const OURS: &str = "longshore.dev/";

/// The shortest time that Kubernetes may keep an ended Job, in seconds. A process that follows the job
/// then still reads its end and the rest of its output.
const SHORTEST_TTL: i32 = 60;

/// Returns the changes in `created`, compared with `submitted`, that break the protocol, as a text;
/// `None` if there are none.
///
/// The marks decide who may release the Job, the labels identify it and its Pod, and the numbers and
/// policies keep Kubernetes from creating a second Pod, and from removing the Job or its Pod before
/// their end is read. Admission may change everything else, such as the image, its pull policy, or
/// `spec.suspend`: only a parallelism above 0 lets the Job start.
pub(crate) fn broken_by_admission(submitted: &Job, created: &Job) -> Option<String> {
    let mut found = Vec::new();
    let (was, now) = (&submitted.metadata, &created.metadata);
    if was.name != now.name {
        found.push(format!("metadata.name is now {}", now.name.as_deref().unwrap_or_default()));
    }
    found.extend(missing("annotation", was.annotations.as_ref(), now.annotations.as_ref()));
    found.extend(missing("label", was.labels.as_ref(), now.labels.as_ref()));
    let (Some(was), Some(now)) = (&submitted.spec, &created.spec) else {
        return Some("the Job has no spec".to_owned());
    };
    let labels = |meta: Option<&ObjectMeta>| meta.and_then(|meta| meta.labels.clone());
    let (of_pod, of_created) =
        (labels(was.template.metadata.as_ref()), labels(now.template.metadata.as_ref()));
    found.extend(missing("label of the Pod", of_pod.as_ref(), of_created.as_ref()));
    found.extend(repeating(was, now));
    let view = |job: &Job| {
        let spec = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        spec.map(PodSpecView::from).unwrap_or_default()
    };
    let (was, view) = (view(submitted), view(created));
    if was.never_restarts() && !view.never_restarts() || view.job().is_none() {
        found.extend(was.alteration(&view));
    }
    found.extend(hasty(now));
    (!found.is_empty()).then(|| found.join(", "))
}

/// Returns the changes from `was` to `now` with which Kubernetes may create a second Pod.
fn repeating(was: &JobSpec, now: &JobSpec) -> Vec<String> {
    let mut found = Vec::new();
    let mut number = |name: &str, now: Option<i32>, holds: bool| {
        let now = now.map_or("unset".to_owned(), |now| now.to_string());
        found.extend((!holds).then(|| format!("spec.{name} is now {now}")));
    };
    number("completions", now.completions, was.completions == now.completions);
    number("parallelism", now.parallelism, matches!(now.parallelism, Some(0 | 1)));
    number("backoffLimit", now.backoff_limit, was.backoff_limit == now.backoff_limit);
    let per_index = now.backoff_limit_per_index;
    number("backoffLimitPerIndex", per_index, per_index.is_none());
    if was.pod_replacement_policy != now.pod_replacement_policy {
        found.push("spec.podReplacementPolicy was changed".to_owned());
    }
    let rules = now.pod_failure_policy.iter().flat_map(|policy| &policy.rules);
    if rules.into_iter().any(|rule| rule.action == "Ignore") {
        found.push("spec.podFailurePolicy now ignores failures".to_owned());
    }
    found
}

/// Returns the values in `spec` with which Kubernetes may remove the Job or its Pod before their end
/// is read.
fn hasty(spec: &JobSpec) -> Vec<String> {
    let ttl = spec.ttl_seconds_after_finished.filter(|ttl| *ttl < SHORTEST_TTL);
    let ttl = ttl.map(|ttl| format!("spec.ttlSecondsAfterFinished is now {ttl}"));
    let grace = spec.template.spec.as_ref().and_then(|pod| pod.termination_grace_period_seconds);
    let grace = grace.filter(|grace| *grace < 1);
    let grace = grace.map(|grace| format!("terminationGracePeriodSeconds is now {grace}"));
    ttl.into_iter().chain(grace).collect()
}

type Map = BTreeMap<String, String>;

fn missing<'a>(
    kind: &'a str,
    submitted: Option<&'a Map>,
    created: Option<&'a Map>,
) -> impl Iterator<Item = String> + 'a {
    let ours = submitted.into_iter().flatten().filter(|(key, _)| key.starts_with(OURS));
    ours.filter_map(move |(key, value)| match created.and_then(|map| map.get(key)) {
        None => Some(format!("{kind} {key} is gone")),
        Some(now) if now != value => Some(format!("{kind} {key} was changed")),
        Some(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use longshore_core::{Attempt, InstallationId, JobId};

    use super::*;
    use crate::config::KubernetesConfig;
    use crate::translate::translate;

    fn job() -> Job {
        let spec = longshore_core::JobSpec::container("r/x:1".parse().unwrap());
        let attempt = Attempt::new(InstallationId::random(), JobId::random(), 1, spec);
        translate(&attempt, &KubernetesConfig::default()).unwrap().job
    }

    fn after(change: impl FnOnce(&mut Job)) -> Option<String> {
        let submitted = job();
        let mut created = submitted.clone();
        change(&mut created);
        broken_by_admission(&submitted, &created)
    }

    /// A suspended Job without its annotation hung forever and could not be cancelled.
    #[test]
    fn a_mark_that_admission_drops_is_named() {
        assert_eq!(after(|_| {}), None);
        let stripped = after(|job| job.metadata.annotations = None).unwrap();
        assert!(stripped.contains("annotation longshore.dev/commit is gone"), "{stripped}");
        let relabelled = after(|job| {
            let labels = job.metadata.labels.as_mut().unwrap();
            labels.insert("longshore.dev/attempt".to_owned(), "x".to_owned());
        });
        assert_eq!(relabelled.unwrap(), "label longshore.dev/attempt was changed");
        let of_pod = after(|job| {
            job.spec.as_mut().unwrap().template.metadata.as_mut().unwrap().labels = None;
        });
        assert!(of_pod.unwrap().starts_with("label of the Pod longshore.dev/"));
    }

    #[test]
    fn what_would_let_a_second_pod_start_is_named() {
        let spec = |change: fn(&mut JobSpec)| after(|job| change(job.spec.as_mut().unwrap()));
        assert_eq!(spec(|s| s.parallelism = None).unwrap(), "spec.parallelism is now unset");
        assert_eq!(spec(|s| s.completions = Some(2)).unwrap(), "spec.completions is now 2");
        assert_eq!(spec(|s| s.backoff_limit = Some(6)).unwrap(), "spec.backoffLimit is now 6");
        let by_index = spec(|s| s.backoff_limit_per_index = Some(1));
        assert_eq!(by_index.unwrap(), "spec.backoffLimitPerIndex is now 1");
        let ignoring = spec(|s| {
            s.pod_failure_policy.as_mut().unwrap().rules[0].action = "Ignore".to_owned();
        });
        assert_eq!(ignoring.unwrap(), "spec.podFailurePolicy now ignores failures");
        let pod = spec(|s| s.template.spec.as_mut().unwrap().restart_policy = None);
        assert_eq!(pod.unwrap(), "restartPolicy is now Always");
        let renamed = spec(|s| {
            s.template.spec.as_mut().unwrap().containers[0].name = "x".to_owned();
        });
        assert_eq!(renamed.unwrap(), "container `job` is now `x`");
    }

    /// Such a Job ran, and its outcome and output were removed before they were read.
    #[test]
    fn a_job_that_kubernetes_would_remove_before_its_end_is_read_is_named() {
        let spec = |change: fn(&mut JobSpec)| after(|job| change(job.spec.as_mut().unwrap()));
        let removed = spec(|s| s.ttl_seconds_after_finished = Some(0));
        assert_eq!(removed.unwrap(), "spec.ttlSecondsAfterFinished is now 0");
        assert_eq!(spec(|s| s.ttl_seconds_after_finished = Some(3600)), None);
        assert_eq!(spec(|s| s.ttl_seconds_after_finished = None), None);
        let forgotten = spec(|s| {
            s.template.spec.as_mut().unwrap().termination_grace_period_seconds = Some(0);
        });
        assert_eq!(forgotten.unwrap(), "terminationGracePeriodSeconds is now 0");
        let renamed = after(|job| job.metadata.name = Some("x".to_owned()));
        assert_eq!(renamed.unwrap(), "metadata.name is now x");
    }

    #[test]
    fn another_image_foreign_labels_and_a_release_break_nothing() {
        let changed = after(|job| {
            let spec = job.spec.as_mut().unwrap();
            (spec.suspend, spec.parallelism) = (Some(false), Some(1));
            spec.completion_mode = Some("Indexed".to_owned());
            spec.active_deadline_seconds = Some(3600);
            let template = &mut job.spec.as_mut().unwrap().template;
            template.spec.as_mut().unwrap().containers[0].image = Some("mirror/x:1".to_owned());
            job.metadata.labels.as_mut().unwrap().insert("team".to_owned(), "a".to_owned());
        });
        assert_eq!(changed, None);
    }
}

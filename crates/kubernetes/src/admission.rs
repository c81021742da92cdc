//! Checks whether the Job that the API server created has what Longshore's protocol relies on.
//! Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::pod_spec_view::PodSpecView;

/// The prefix of Longshore's own labels and annotations.
const OURS: &str = "longshore.dev/";

/// Returns the changes in `created`, compared with `submitted`, that break the protocol, as a text;
/// `None` if there are none.
///
/// The marks decide who may release the Job, the labels identify it and its Pod, and the numbers
/// keep Kubernetes from creating a second Pod. Admission may change everything else, such as the
/// image.
pub(crate) fn broken_by_admission(submitted: &Job, created: &Job) -> Option<String> {
    let mut found = Vec::new();
    let (was, now) = (&submitted.metadata, &created.metadata);
    found.extend(missing("annotation", was.annotations.as_ref(), now.annotations.as_ref()));
    found.extend(missing("label", was.labels.as_ref(), now.labels.as_ref()));
    let (Some(was), Some(now)) = (&submitted.spec, &created.spec) else {
        return Some("the Job has no spec".to_owned());
    };
    let labels = |meta: Option<&ObjectMeta>| meta.and_then(|meta| meta.labels.clone());
    let (of_pod, of_created) =
        (labels(was.template.metadata.as_ref()), labels(now.template.metadata.as_ref()));
    found.extend(missing("label of the Pod", of_pod.as_ref(), of_created.as_ref()));
    let number = |name: &str, was: Option<i32>, now: Option<i32>| {
        let now_text = now.map_or("unset".to_owned(), |now| now.to_string());
        (was != now).then(|| format!("spec.{name} is now {now_text}"))
    };
    found.extend(number("completions", was.completions, now.completions));
    found.extend(number("parallelism", was.parallelism, now.parallelism));
    found.extend(number("backoffLimit", was.backoff_limit, now.backoff_limit));
    if was.pod_replacement_policy != now.pod_replacement_policy {
        found.push("spec.podReplacementPolicy was changed".to_owned());
    }
    if !is_suspended(created) {
        found.push("spec.suspend is now false".to_owned());
    }
    let view = |job: &Job| {
        let spec = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        spec.map(PodSpecView::from).unwrap_or_default()
    };
    let (was, now) = (view(submitted), view(created));
    if was.never_restarts() && !now.never_restarts() || now.job().is_none() {
        found.extend(was.alteration(&now));
    }
    (!found.is_empty()).then(|| found.join(", "))
}

/// Returns whether `job` is suspended.
pub(crate) fn is_suspended(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.suspend).unwrap_or_default()
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
    use longshore_core::{Attempt, InstallationId, JobId, JobSpec};

    use super::*;
    use crate::config::KubernetesConfig;
    use crate::translate::translate;

    fn job() -> Job {
        let spec = JobSpec::container("r/x:1".parse().unwrap());
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
        let spec = |change: fn(&mut k8s_openapi::api::batch::v1::JobSpec)| {
            after(|job| change(job.spec.as_mut().unwrap()))
        };
        assert_eq!(spec(|s| s.suspend = None).unwrap(), "spec.suspend is now false");
        assert_eq!(spec(|s| s.backoff_limit = Some(6)).unwrap(), "spec.backoffLimit is now 6");
        let pod = spec(|s| s.template.spec.as_mut().unwrap().restart_policy = None);
        assert_eq!(pod.unwrap(), "restartPolicy is now Always");
        let renamed = spec(|s| {
            s.template.spec.as_mut().unwrap().containers[0].name = "x".to_owned();
        });
        assert_eq!(renamed.unwrap(), "container `job` is now `x`");
    }

    #[test]
    fn another_image_and_foreign_labels_break_nothing() {
        let changed = after(|job| {
            let template = &mut job.spec.as_mut().unwrap().template;
            template.spec.as_mut().unwrap().containers[0].image = Some("mirror/x:1".to_owned());
            job.metadata.labels.as_mut().unwrap().insert("team".to_owned(), "a".to_owned());
        });
        assert_eq!(changed, None);
    }
}

use FindingCause::{
    AdmissionPolicy, AdmissionWebhook, ImagePullSecret, Job, LimitRange, Namespace, Other,
    Permission, PodSecurity, PriorityClass, ResourceQuota, RuntimeClass, ServiceAccount,
};

use super::*;

fn answer(code: u16, message: &str) -> Status {
    serde_json::from_value(serde_json::json!({"code": code, "message": message})).unwrap()
}

fn of_pod(code: u16, message: &str) -> Finding {
    of_refusal(Checked::Pod, &answer(code, message), SecurityProfile::Baseline)
}

/// The messages are those of a real API server.
#[test]
fn each_cause_of_a_refusal_is_named_and_has_a_hint_of_its_own() {
    let mut hints = std::collections::BTreeSet::new();
    for (code, words, cause, hint) in [
        (
            403,
            "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": \
             allowPrivilegeEscalation != false",
            PodSecurity,
            "job.securityProfile: restricted",
        ),
        (
            403,
            "pods \"x\" is forbidden: violates PodSecurity \"baseline:latest\": hostPath volumes",
            PodSecurity,
            "podTemplate",
        ),
        (
            403,
            "pods \"x\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0",
            ResourceQuota,
            "raise the quota",
        ),
        (
            403,
            "pods \"x\" is forbidden: failed quota: q2: must specify limits.cpu for: job",
            ResourceQuota,
            "defaultResources",
        ),
        (
            403,
            "pods \"x\" is forbidden: maximum memory usage per Container is 64Mi, but limit is 1Gi",
            LimitRange,
            "maxResources",
        ),
        (
            400,
            "admission webhook \"p.example\" denied the request: exceeded quota",
            AdmissionWebhook,
            "--image",
        ),
        (
            500,
            "Internal error occurred: failed calling webhook \"p.example\": connection refused",
            AdmissionWebhook,
            "Service",
        ),
        (
            422,
            "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied \
             request: no",
            AdmissionPolicy,
            "--image",
        ),
        (
            403,
            "pods \"x-\" is forbidden: error looking up service account ns/nope: serviceaccount \
             \"nope\" not found",
            ServiceAccount,
            "serviceAccountName",
        ),
        (
            403,
            "pods \"x\" is forbidden: no PriorityClass with name nope was found",
            PriorityClass,
            "priorityClassName",
        ),
        (
            403,
            "pods \"x\" is forbidden: pod rejected: RuntimeClass \"nope\" not found",
            RuntimeClass,
            "runtimeClassName",
        ),
        (404, "namespaces \"nope\" not found", Namespace, "job.kubernetes.namespace"),
        (422, "Pod \"x\" is invalid: spec.hostAliases", Job, "job.kubernetes"),
    ] {
        let found = of_pod(code, words);
        assert_eq!((found.severity, found.cause), (Severity::Error, cause), "{words}");
        assert!(found.message.ends_with(words), "{}", found.message);
        let said = found.hint.unwrap_or_default();
        assert!(said.contains(hint), "{words}: {said}");
        hints.insert(said);
    }
    assert_eq!(hints.len(), 12, "{hints:?}");
    assert_eq!(of_pod(403, "pods \"x\" is forbidden: no").cause, Other);
}

#[test]
fn what_could_not_be_checked_is_no_failure() {
    let rbac = "pods is forbidden: User \"x\" cannot create resource \"pods\" in API group \"\"";
    let found = of_pod(403, rbac);
    assert_eq!((found.severity, found.cause), (Severity::Note, Permission));
    assert!(found.hint.unwrap().contains("`create` on `pods`"));
    let found = of_refusal(Checked::Secret, &answer(403, rbac), SecurityProfile::Baseline);
    assert_eq!((found.severity, found.cause), (Severity::Error, Permission));
}

#[test]
fn every_secret_that_a_pod_needs_is_found_once() {
    let spec: PodSpec = serde_json::from_value(serde_json::json!({
        "imagePullSecrets": [{"name": "pull"}, {"name": "pull"}],
        "containers": [{"name": "job",
            "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "k"}}},
                {"name": "B", "valueFrom": {"secretKeyRef":
                    {"name": "b", "key": "k", "optional": true}}},
            ],
            "envFrom": [{"secretRef": {"name": "all"}}],
        }],
        "volumes": [
            {"name": "v", "secret": {"secretName": "volume"}},
            {"name": "w", "secret": {"secretName": "may", "optional": true}},
        ],
    }))
    .unwrap();
    let named: Vec<_> = secrets_of(&spec).into_iter().map(|it| (it.name, it.to_pull)).collect();
    let expected = [("a", false), ("all", false), ("pull", true), ("volume", false)];
    assert_eq!(named, expected.map(|(name, to_pull)| (name.to_owned(), to_pull)));
}

#[test]
fn a_missing_pull_secret_is_said_with_the_place_that_names_it() {
    let secret = NamedSecret { name: "harbor".to_owned(), to_pull: true };
    let found = secret.is_missing(&["harbor".to_owned()]);
    assert_eq!((found.severity, found.cause), (Severity::Warning, ImagePullSecret));
    assert!(found.hint.unwrap().contains("job.kubernetes.imagePullSecrets"));
    assert!(secret.is_missing(&[]).hint.unwrap().contains("service account"));
    let needed = NamedSecret { name: "token".to_owned(), to_pull: false };
    assert_eq!(needed.is_missing(&[]).severity, Severity::Error);
}

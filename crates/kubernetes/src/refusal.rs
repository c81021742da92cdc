//! Interprets refusals by the API server and by its admission. Pure.
//!
//! The API server answers requests directly. The Job controller repeats in Events the answers that
//! it got when it tried to create a Pod (`Error creating: …`,
//! `pkg/controller/controller_utils.go`). The messages are the same, so one table serves both.

use longshore_core::{ErrorKind, RejectReason, SecurityProfile};

/// Returns the class of a refusal with the message `words`; `None` if the message does not show a
/// decision against the object.
///
/// - Quota: there is no room now (`plugin/pkg/admission/resourcequota`).
/// - An object that the Pod names does not exist: the Pod cannot be set up.
/// - Every other decision (webhook, ValidatingAdmissionPolicy, Pod Security, LimitRange, RBAC) is
///   `Denied`, so that a refusal never leads to a less isolated runner.
/// - A webhook that cannot be called has decided nothing.
pub(crate) fn classify(words: &str) -> Option<ErrorKind> {
    let message = words.to_lowercase();
    let has = |words: &str| message.contains(words);
    let is_forbidden = has("is forbidden") || has("forbidden:");
    // This comes first: the text that follows is the policy's own, and may repeat any phrase below.
    let is_policy = (has("admission webhook") && has("denied the request"))
        || has("validatingadmissionpolicy")
        || has("violates podsecurity");
    if is_policy {
        return Some(ErrorKind::Denied);
    }
    if has("failed calling webhook") || has("failed to call webhook") {
        return None;
    }
    // The namespace is being deleted (cause NamespaceTerminating).
    if has("because it is being terminated") {
        return Some(ErrorKind::Unavailable);
    }
    if is_forbidden && has("exceeded quota") {
        return Some(ErrorKind::Saturated);
    }
    if is_forbidden
        && ((has("service account") || has("serviceaccount")) && has("not found")
            || has("no priorityclass with name")
            || has("runtimeclass") && has("not found"))
    {
        return Some(ErrorKind::Rejected(RejectReason::ContainerConfig));
    }
    is_forbidden.then_some(ErrorKind::Denied)
}

/// Returns the security profile that `words` demands, if it is a refusal by Pod Security:
/// `violates PodSecurity "restricted:latest": …`.
pub(crate) fn violated_profile(words: &str) -> Option<SecurityProfile> {
    let (_, rest) = words.split_once("violates PodSecurity \"")?;
    rest.split([':', '"']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_by_policy_is_denied_whatever_words_announce_it() {
        use ErrorKind::{Denied, Rejected, Saturated, Unavailable};
        let config = Rejected(RejectReason::ContainerConfig);
        for (words, expected) in [
            (
                "Error creating: admission webhook \"p.example\" denied the request: no",
                Some(Denied),
            ),
            (
                "Error creating: pods \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with \
                 binding 'b' denied request: no",
                Some(Denied),
            ),
            (
                "Error creating: pods \"x\" is forbidden: violates PodSecurity \
                 \"restricted:latest\": allowPrivilegeEscalation != false",
                Some(Denied),
            ),
            (
                "Error creating: pods \"x\" is forbidden: failed quota: q: must specify limits.cpu",
                Some(Denied),
            ),
            (
                "Error creating: pods \"x\" is forbidden: maximum memory usage per Container is \
                 64Mi, but limit is 1Gi",
                Some(Denied),
            ),
            ("jobs.batch is forbidden: User \"x\" cannot create resource \"jobs\"", Some(Denied)),
            (
                "Error creating: pods \"x\" is forbidden: exceeded quota: q, requested: pods=1, \
                 used: pods=0, limited: pods=0",
                Some(Saturated),
            ),
            (
                "Error creating: pods \"x\" is forbidden: error looking up service account \
                 default/nope: serviceaccount \"nope\" not found",
                Some(config),
            ),
            (
                "Error creating: pods \"x\" is forbidden: pod rejected: RuntimeClass \"nope\" not \
                 found",
                Some(config),
            ),
            (
                "unable to create new content in namespace x because it is being terminated",
                Some(Unavailable),
            ),
            (
                "Error creating: Internal error occurred: failed calling webhook \"p.example\": \
                 failed to call webhook: Post \"https://127.0.0.1:1/\": dial tcp 127.0.0.1:1: \
                 connect: connection refused",
                None,
            ),
            ("Error creating: etcdserver: request timed out", None),
            (
                "admission webhook \"p.example\" denied the request: pods \"x\" is forbidden: \
                 exceeded quota",
                Some(Denied),
            ),
        ] {
            assert_eq!(classify(words), expected, "{words}");
        }
    }

    #[test]
    fn the_profile_that_a_namespace_demands_is_read_from_its_refusal() {
        let words = "Error creating: pods \"x\" is forbidden: violates PodSecurity \
                     \"restricted:latest\": allowPrivilegeEscalation != false";
        assert_eq!(violated_profile(words), Some(SecurityProfile::Restricted));
        let words = "pods \"x\" is forbidden: violates PodSecurity \"baseline:v1.30\": hostPort";
        assert_eq!(violated_profile(words), Some(SecurityProfile::Baseline));
        assert_eq!(violated_profile("pods \"x\" is forbidden: exceeded quota"), None);
    }
}

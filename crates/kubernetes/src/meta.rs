//! Reading the metadata and the conditions of objects. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

/// Returns the annotation `key`.
pub(crate) fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Returns the label `key`.
pub(crate) fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(key).map(String::as_str)
}

/// Returns `reason: message`, or the one of them that exists.
pub(crate) fn reason_and_message(reason: Option<&str>, message: Option<&str>) -> String {
    let parts = [reason, message];
    let given: Vec<&str> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    given.join(": ")
}

/// Returns whether the `activeDeadlineSeconds` of a Job or Pod is that of its creation, so that its
/// creator or admission has set it. `false` if that is unknown.
///
/// The API server records which client set a field
/// (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>), except for
/// what admission changes. The creator is the only one that can have set a field that never changes.
/// That of a Pod, the Job controller, changes no deadline later. Longshore, that of a Job, sets none,
/// but another program may go by the same name.
pub(crate) fn has_first_deadline(meta: &ObjectMeta) -> bool {
    let clients = meta.managed_fields.as_deref().unwrap_or_default();
    let set = |client: &ManagedFieldsEntry, field: &str| {
        let fields = client.fields_v1.as_ref();
        fields.is_some_and(|it| it.0.get("f:spec").is_some_and(|spec| spec.get(field).is_some()))
    };
    let is_creator =
        |it: &ManagedFieldsEntry| set(it, "f:completionMode") || set(it, "f:restartPolicy");
    let mut setters = clients.iter().filter(|it| set(it, "f:activeDeadlineSeconds"));
    clients.iter().any(is_creator) && setters.all(|it| set(it, "f:restartPolicy"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_the_deadline_of_the_creation_is_that_of_admission() {
        let client = |fields: &[&str]| {
            let spec: serde_json::Map<_, _> =
                fields.iter().map(|field| (format!("f:{field}"), json!({}))).collect();
            json!({"manager": "m", "operation": "Update", "fieldsV1": {"f:spec": spec}})
        };
        let status = json!({"manager": "kubelet", "fieldsV1": {"f:status": {}}});
        let job = client(&["completionMode", "suspend"]);
        let pod = client(&["restartPolicy", "activeDeadlineSeconds"]);
        let edit = client(&["activeDeadlineSeconds"]);
        for (clients, first) in [
            (vec![job.clone(), client(&["parallelism"])], true),
            (vec![pod.clone(), status.clone()], true),
            (vec![job, edit.clone()], false),
            (vec![client(&["completionMode", "activeDeadlineSeconds"])], false),
            (vec![client(&["restartPolicy"]), status, edit], false),
            (vec![], false),
        ] {
            let meta: Value = json!({"managedFields": clients});
            let meta: ObjectMeta = serde_json::from_value(meta).unwrap();
            assert_eq!(has_first_deadline(&meta), first, "{meta:?}");
        }
    }
}

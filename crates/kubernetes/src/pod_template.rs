//! The administrator's patch of every job's Pod.

use k8s_openapi::DeepMerge;
use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use longshore_core::{JobDirectoryView, RESERVED_LABEL_PREFIX};
#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::names;
use crate::strict;

/// A strategic merge patch of the Pod of every job
/// (<https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>).
///
/// It is checked against the API's types when it is read, and cannot change what decides whether,
/// how often and what a job runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct PodTemplate(PodTemplateSpec);

impl PodTemplate {
    /// Changes `template` as this patch says.
    pub(crate) fn apply(&self, template: &mut PodTemplateSpec) {
        template.merge_from(self.0.clone());
    }
}

impl<'de> Deserialize<'de> for PodTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Value::deserialize(deserializer)?;
        let template = strict::read(&given).map_err(D::Error::custom)?;
        match owned(&given, &template) {
            Some(path) => Err(D::Error::custom(format!(
                "`{path}` is set by Longshore for each job, and a Pod template cannot change it"
            ))),
            None => Ok(Self(template)),
        }
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for PodTemplate {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PodTemplate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "description": "A strategic merge patch of a PodTemplateSpec.",
            "type": "object",
        })
    }
}

/// The fields of a Pod's `spec` that Longshore sets: they decide when a Pod ends, and what a signal
/// reaches.
const OF_POD: &[&str] = &[
    "activeDeadlineSeconds",
    "ephemeralContainers",
    "restartPolicy",
    "shareProcessNamespace",
    "terminationGracePeriodSeconds",
];

/// The fields of the job's container that Longshore sets: they decide what it runs.
const OF_CONTAINER: &[&str] = &[
    "args",
    "command",
    "image",
    "imagePullPolicy",
    "restartPolicy",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "tty",
    "workingDir",
];

/// Returns the path of a field that `given`, which is `template`, must not set.
fn owned(given: &Value, template: &PodTemplateSpec) -> Option<String> {
    of_metadata(&given["metadata"])
        .or_else(|| {
            let pod = OF_POD.iter().find(|field| !given["spec"][**field].is_null());
            pod.map(|field| format!("spec.{field}"))
        })
        .or_else(|| {
            let volumes = template.spec.as_ref()?.volumes.iter().flatten();
            let own = volumes.into_iter().any(|volume| volume.name == names::VOLUME);
            own.then(|| format!("spec.volumes: {}", names::VOLUME))
        })
        .or_else(|| {
            let containers = &template.spec.as_ref()?.containers;
            let given = given["spec"]["containers"].as_array()?;
            given
                .iter()
                .zip(containers)
                .find_map(|(given, container)| of_container(given, container))
        })
}

fn of_metadata(given: &Value) -> Option<String> {
    let fields = given.as_object()?;
    fields.iter().find_map(|(field, value)| match field.as_str() {
        "labels" | "annotations" => value
            .as_object()?
            .keys()
            .find(|key| key.starts_with(RESERVED_LABEL_PREFIX) || *key == names::KUEUE_QUEUE)
            .map(|key| format!("metadata.{field}: {key}")),
        _ => Some(format!("metadata.{field}")),
    })
}

fn of_container(given: &Value, container: &Container) -> Option<String> {
    if container.name.is_empty() {
        return Some("spec.containers: a container without a name".to_owned());
    }
    if container.name != names::CONTAINER {
        return None;
    }
    let field = OF_CONTAINER.iter().find(|field| !given[**field].is_null());
    let mounted = container.volume_mounts.iter().flatten().find(|mount| {
        let path = std::path::Path::new(&mount.mount_path);
        path.starts_with(JobDirectoryView::IN_CONTAINER) || mount.name == names::VOLUME
    });
    let variable =
        container.env.iter().flatten().find(|variable| variable.name.starts_with("LONGSHORE_"));
    let path = field
        .map(|field| (*field).to_owned())
        .or_else(|| mounted.map(|mount| format!("volumeMounts: {}", mount.mount_path)))
        .or_else(|| variable.map(|variable| format!("env: {}", variable.name)));
    path.map(|path| format!("spec.containers[name={}].{path}", names::CONTAINER))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<PodTemplate, String> {
        serde_json::from_value(value).map_err(|e| e.to_string())
    }

    #[test]
    fn what_the_protocol_owns_cannot_be_changed() {
        let container = |fields: Value| {
            let mut container = json!({"name": "job"});
            container.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            json!({"spec": {"containers": [container]}})
        };
        for (template, path) in [
            (json!({"metadata": {"name": "x"}}), "metadata.name"),
            (
                json!({"metadata": {"labels": {"longshore.dev/attempt": "x"}}}),
                "metadata.labels: longshore.dev/attempt",
            ),
            (
                json!({"metadata": {"annotations": {"longshore.dev/ending": "x"}}}),
                "metadata.annotations: longshore.dev/ending",
            ),
            (json!({"spec": {"restartPolicy": "Always"}}), "spec.restartPolicy"),
            (json!({"spec": {"activeDeadlineSeconds": 1}}), "spec.activeDeadlineSeconds"),
            (json!({"spec": {"volumes": [{"name": "job"}]}}), "spec.volumes: job"),
            (container(json!({"image": "x"})), "spec.containers[name=job].image"),
            (container(json!({"command": ["x"]})), "spec.containers[name=job].command"),
            (container(json!({"args": []})), "spec.containers[name=job].args"),
            (
                container(json!({"imagePullPolicy": "Always"})),
                "spec.containers[name=job].imagePullPolicy",
            ),
            (
                container(json!({"volumeMounts": [{"name": "x", "mountPath": "/job/input"}]})),
                "spec.containers[name=job].volumeMounts: /job/input",
            ),
            (
                container(json!({"env": [{"name": "LONGSHORE_ATTEMPT"}]})),
                "spec.containers[name=job].env: LONGSHORE_ATTEMPT",
            ),
            (json!({"spec": {"containers": [{"image": "x"}]}}), "without a name"),
        ] {
            let error = read(template.clone()).unwrap_err();
            assert!(error.contains(path), "{template}: {error}");
            assert!(error.contains("cannot change it"), "{error}");
        }
    }

    #[test]
    fn each_field_that_longshore_sets_is_refused_by_its_path() {
        // Of the types that the API has for these fields.
        let value = |field: &str| match field {
            "activeDeadlineSeconds" | "terminationGracePeriodSeconds" => json!(1),
            "args" | "command" => json!(["x"]),
            "ephemeralContainers" => json!([{"name": "x"}]),
            "shareProcessNamespace" | "stdin" | "stdinOnce" | "tty" => json!(true),
            _ => json!("Always"),
        };
        for field in OF_POD {
            let error = read(json!({"spec": {*field: value(field)}})).unwrap_err();
            assert!(error.starts_with(&format!("`spec.{field}` is set by Longshore")), "{error}");
        }
        for field in OF_CONTAINER {
            let of = |name: &str| json!({"spec": {"containers": [{"name": name, *field: value(field)}]}});
            let error = read(of("job")).unwrap_err();
            assert!(
                error.starts_with(&format!("`spec.containers[name=job].{field}` is")),
                "{error}"
            );
            read(of("sidecar")).unwrap();
        }
    }

    #[test]
    fn a_field_that_does_not_exist_is_refused() {
        let error = read(json!({"spec": {"hostNetwrok": true}})).unwrap_err();
        assert!(error.contains("unknown field `spec.hostNetwrok`"), "{error}");
        let error = read(json!({"spec": {"$patch": "replace"}})).unwrap_err();
        assert!(error.contains("unknown field `spec.$patch`"), "{error}");
    }

    #[test]
    fn lists_are_merged_by_their_keys_and_other_fields_are_replaced() {
        let mut template: PodTemplateSpec = serde_json::from_value(json!({
            "metadata": {"labels": {"a": "1"}},
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "job", "image": "x", "env": [{"name": "A", "value": "1"}]}],
            },
        }))
        .unwrap();
        let patch = read(json!({
            "metadata": {"labels": {"b": "2"}},
            "spec": {
                "hostNetwork": true,
                "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
                "containers": [
                    {
                        "name": "job",
                        "env": [{"name": "B", "value": "2"}],
                        "volumeMounts": [{"name": "ca", "mountPath": "/etc/ssl/own"}],
                        "resources": {"limits": {"nvidia.com/gpu": "1"}},
                    },
                    {"name": "sidecar", "image": "y"},
                ],
            },
        }))
        .unwrap();
        patch.apply(&mut template);
        let expected = json!({
            "metadata": {"labels": {"a": "1", "b": "2"}},
            "spec": {
                "restartPolicy": "Never",
                "hostNetwork": true,
                "volumes": [{"name": "ca", "configMap": {"name": "ca"}}],
                "containers": [
                    {
                        "name": "job",
                        "image": "x",
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                        "volumeMounts": [{"name": "ca", "mountPath": "/etc/ssl/own"}],
                        "resources": {"limits": {"nvidia.com/gpu": "1"}},
                    },
                    {"name": "sidecar", "image": "y"},
                ],
            },
        });
        assert_eq!(serde_json::to_value(template).unwrap(), expected);
    }
}

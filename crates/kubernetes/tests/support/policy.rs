//! Admission policies for the objects of one case, in force while the case runs.
//!
//! They match the installation's label, so that they do not affect other cases on the same cluster.

use std::time::Duration;

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, PostParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{Case, Checked, PATIENCE, object};

/// How often a dry run checks whether a policy is in force. No event reports when the API server
/// has read a policy.
const AGAIN: Duration = Duration::from_millis(100);

/// A policy and its binding.
pub(crate) struct Policy {
    policies: Api<DynamicObject>,
    bindings: Api<DynamicObject>,
    name: String,
}

/// The objects that a policy applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Jobs,
    Pods,
}

impl Target {
    fn rule(self) -> Value {
        let (group, resource) = match self {
            Self::Jobs => ("batch", "jobs"),
            Self::Pods => ("", "pods"),
        };
        json!({
            "apiGroups": [group], "apiVersions": ["v1"], "resources": [resource],
            "operations": ["CREATE"],
        })
    }
}

impl Policy {
    /// Creates a MutatingAdmissionPolicy that applies the JSON patch `patch`, a list in CEL.
    pub(crate) async fn mutating(case: &Case, target: Target, patch: &str) -> Checked<Self> {
        let spec = json!({
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
        });
        let before = probe(case, target)?;
        let policy = Self::create(case, target, "MutatingAdmissionPolicy", "v1beta1", spec).await?;
        let changed =
            |answer: kube::Result<Value>| answer.is_ok_and(|now| !contains(&now, &before));
        policy.until(case, target, changed).await
    }

    /// Creates a ValidatingAdmissionPolicy that denies every object, with `message`.
    pub(crate) async fn denying(case: &Case, target: Target, message: &str) -> Checked<Self> {
        let validation = json!({"expression": "false", "message": message});
        let spec = json!({"failurePolicy": "Fail", "validations": [validation]});
        let policy = Self::create(case, target, "ValidatingAdmissionPolicy", "v1", spec).await?;
        policy.until(case, target, |answer| answer.is_err()).await
    }

    async fn create(
        case: &Case,
        target: Target,
        kind: &str,
        version: &str,
        mut spec: Value,
    ) -> Checked<Self> {
        let name = format!("longshore-{}", case.installation);
        let key = "longshore.dev/installation";
        let installation = &case.installation;
        spec["matchConstraints"] = json!({"resourceRules": [target.rule()]});
        spec["matchConditions"] = json!([{
            "name": "of-this-case",
            "expression": format!(
                "has(object.metadata.labels) && '{key}' in object.metadata.labels && \
                 object.metadata.labels['{key}'] == '{installation}'"
            ),
        }]);
        let mut binding = json!({"policyName": name});
        if kind == "ValidatingAdmissionPolicy" {
            binding["validationActions"] = json!(["Deny"]);
        }
        let api = |kind: &str| {
            let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", version, kind);
            Api::all_with(case.lab.client.clone(), &ApiResource::from_gvk(&kind))
        };
        let (policies, bindings) = (api(kind), api(&format!("{kind}Binding")));
        let policy = Self { policies, bindings, name };
        let whole = |kind: &str, spec: Value| {
            json!({
                "apiVersion": format!("admissionregistration.k8s.io/{version}"), "kind": kind,
                "metadata": {"name": policy.name}, "spec": spec,
            })
        };
        let params = PostParams::default();
        policy.policies.create(&params, &object(whole(kind, spec))?).await?;
        let bound = object(whole(&format!("{kind}Binding"), binding))?;
        policy.bindings.create(&params, &bound).await?;
        Ok(policy)
    }

    /// Waits until a dry run shows that the policy is in force.
    async fn until(
        self,
        case: &Case,
        target: Target,
        in_force: impl Fn(kube::Result<Value>) -> bool,
    ) -> Checked<Self> {
        let deadline = Instant::now() + PATIENCE / 4;
        let mut last = String::new();
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        while Instant::now() < deadline {
            let probe = probe(case, target)?;
            let answer = match target {
                Target::Jobs => {
                    let answer = case.lab.jobs().create(&dry_run, &object(probe)?).await;
                    answer.map(|job| serde_json::to_value(job).unwrap_or_default())
                }
                Target::Pods => {
                    let answer = case.lab.pods().create(&dry_run, &object(probe)?).await;
                    answer.map(|pod| serde_json::to_value(pod).unwrap_or_default())
                }
            };
            last.clear();
            last.extend(answer.as_ref().err().map(ToString::to_string));
            if in_force(answer) {
                return Ok(self);
            }
            sleep(AGAIN).await;
        }
        self.remove().await?;
        Err(format!("the policy did not come into force: {last}").into())
    }

    /// Removes the policy.
    pub(crate) async fn remove(self) -> Checked {
        let params = DeleteParams::default();
        self.bindings.delete(&self.name, &params).await?;
        self.policies.delete(&self.name, &params).await?;
        Ok(())
    }
}

/// Returns an object like those of Longshore, for a dry run. It has a deadline, so that a policy which
/// sets one shows.
fn probe(case: &Case, target: Target) -> Checked<Value> {
    let installation = &case.installation;
    let labels = json!({
        "longshore.dev/installation": installation, "longshore.dev/attempt": "probe",
    });
    let pod = json!({
        "restartPolicy": "Never", "activeDeadlineSeconds": 3600,
        "containers": [{"name": "job", "image": case.lab.image.to_string()}],
    });
    let marks = json!({"longshore.dev/commit": "open", "longshore.dev/ending": "none"});
    let name = format!("probe-{installation}");
    Ok(match target {
        Target::Pods => json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": labels}, "spec": pod,
        }),
        Target::Jobs => json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": name, "labels": labels, "annotations": marks},
            "spec": {
                "suspend": true, "parallelism": 0, "backoffLimit": 0, "activeDeadlineSeconds": 3600,
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }),
    })
}

/// Returns whether `whole` has everything that `part` has, with the same values and list lengths.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            let has = |(key, value): (&String, &Value)| {
                whole.get(key).is_some_and(|found| contains(found, value))
            };
            // Everything else that the API server adds is a default value.
            let added =
                whole.contains_key("initContainers") && !part.contains_key("initContainers");
            part.iter().all(has) && !added
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(a, b)| contains(a, b))
        }
        (whole, part) => whole == part,
    }
}

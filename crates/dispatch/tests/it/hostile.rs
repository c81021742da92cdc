//! Specs that strangers may send.

use longshore_core::JobSpec;
use serde_json::{Value, json};

/// What a stranger may send under the default policy.
fn harmless() -> Value {
    json!({"container": {"image": "busybox:1"}})
}

/// Returns `base` with the keys of `patch`, as a merge patch (RFC 7386).
fn patched(base: &Value, patch: &Value) -> Value {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => {
            let mut all = base.clone();
            for (key, value) in patch {
                let merged = patched(base.get(key).unwrap_or(&Value::Null), value);
                all.insert(key.clone(), merged);
            }
            Value::Object(all)
        }
        (_, patch) => patch.clone(),
    }
}

pub fn spec(patch: Value) -> JobSpec {
    let value = patched(&harmless(), &patch);
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error} in {value}"))
}

pub fn login(key: &str, value: &str) -> Value {
    json!({"registries": [{"server": "evil.example.org", "username": "me", key: value}]})
}

/// A hostile spec for each field that could read or harm the service: the field as in the schema, the
/// spec, the rule and the field that the refusal names.
pub fn hostile() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let secret = |source: Value| json!({"secretEnv": {"T": source}});
    let key = json!({"secretKeyRef": {"name": "database", "key": "password"}});
    let context = |context: Value| json!({"securityContext": context});
    let volume = |path: &str| json!({"volumes": [{"hostPath": path, "mountPath": "/x"}]});
    vec![
        ("name", json!({"name": "a\nERROR forged"}), "name", "name"),
        ("name", json!({"name": "\u{1b}]0;title\u{7}"}), "name", "name"),
        (
            "container.image",
            json!({"container": {"image": "localhost:5000/admin"}}),
            "registries",
            "container.image",
        ),
        (
            "container.image",
            json!({"container": {"image": "169.254.169.254/latest/meta-data"}}),
            "registries",
            "container.image",
        ),
        (
            "container.image",
            json!({"container": {"image": "registry.kube-system.svc.local:5000/x"}}),
            "registries",
            "container.image",
        ),
        ("process.command[]", json!({"process": {"command": ["sh"]}}), "processes", "process"),
        (
            "process.args[]",
            json!({"process": {"command": [], "args": ["cat", "/etc/shadow"]}}),
            "processes",
            "process",
        ),
        (
            "process.workingDir",
            json!({"process": {"command": ["ls"], "workingDir": "/root"}}),
            "processes",
            "process",
        ),
        (
            "labels.*",
            json!({"labels": {"traefik.enable": "true"}}),
            "labels",
            "labels.traefik.enable",
        ),
        ("labels.*", json!({"labels": {"app": "payments"}}), "labels", "labels.app"),
        ("secretEnv.*.file", secret(json!({"file": "/etc/shadow"})), "secretFiles", "secretEnv.T"),
        (
            "secretEnv.*.env",
            secret(json!({"env": "AWS_SECRET_ACCESS_KEY"})),
            "secretVariables",
            "secretEnv.T",
        ),
        ("secretEnv.*.secretKeyRef.name", secret(key.clone()), "kubernetesSecrets", "secretEnv.T"),
        ("secretEnv.*.secretKeyRef.key", secret(key), "kubernetesSecrets", "secretEnv.T"),
        ("jobDirectory", json!({"jobDirectory": "/"}), "jobDirectories", "jobDirectory"),
        ("volumes[].hostPath", volume("/etc"), "hostPaths", "volumes[0].hostPath"),
        (
            "resources.limits.gpus",
            json!({"resources": {"limits": {"gpus": 1}}}),
            "maxGpus",
            "resources.limits.gpus",
        ),
        ("gracePeriod", json!({"gracePeriod": "300d"}), "maxGracePeriod", "gracePeriod"),
        (
            "securityProfile",
            json!({"securityProfile": "privileged"}),
            "securityProfile",
            "securityProfile",
        ),
        (
            "securityContext.capabilities.add[]",
            context(json!({"capabilities": {"add": ["SYS_ADMIN"]}})),
            "securityProfile",
            "securityContext.capabilities.add",
        ),
        (
            "securityContext.seccompProfile.type",
            context(json!({"seccompProfile": {"type": "Unconfined"}})),
            "securityProfile",
            "securityContext.seccompProfile",
        ),
        ("imagePullPolicy", json!({"imagePullPolicy": "Never"}), "pullPolicies", "imagePullPolicy"),
        (
            "imagePullPolicy",
            json!({"imagePullPolicy": ["Always", "IfNotPresent"]}),
            "pullPolicies",
            "imagePullPolicy",
        ),
        (
            "registries[].passwordFile",
            login("passwordFile", "/etc/shadow"),
            "secretFiles",
            "registries[0].passwordFile",
        ),
        (
            "registries[].passwordEnv",
            login("passwordEnv", "AWS_SECRET_ACCESS_KEY"),
            "secretVariables",
            "registries[0].passwordEnv",
        ),
        (
            "registries[].credentialHelper",
            login("credentialHelper", "ecr-login"),
            "credentialHelpers",
            "registries[0].credentialHelper",
        ),
    ]
}

/// The fields that the default policy leaves to the job, with the reason.
pub const LEFT_TO_THE_JOB: &[(&str, &str)] = &[
    ("container.command[]", "runs in the container"),
    ("container.args[]", "runs in the container"),
    ("container.workingDir", "is in the container"),
    ("container.init", "runs in the container"),
    ("tty", "is a terminal of the container, to which only the service attaches"),
    ("env.*", "is the container's environment; a process is refused"),
    ("stdin", "receives only what the service gives with the submission"),
    ("volumes[].mountPath", "is in the container"),
    ("volumes[].readOnly", "only restricts"),
    ("resources.limits.cpu", "a limit only restricts; `maxCpu` demands one"),
    ("resources.limits.memory", "a limit only restricts; `maxMemory` demands one"),
    ("resources.limits.pids", "a limit only restricts; `maxPids` demands one"),
    ("timeout", "a timeout only restricts; `maxTimeout` demands one"),
    ("securityContext.runAsUser", "is a user of the container; no folder of the host is there"),
    ("securityContext.runAsGroup", "is a group of the container"),
    ("securityContext.runAsNonRoot", "only restricts, or is what the image has"),
    ("securityContext.supplementalGroups[]", "are groups of the container"),
    ("securityContext.readOnlyRootFilesystem", "only restricts"),
    ("securityContext.allowPrivilegeEscalation", "is within the profile `baseline`"),
    ("securityContext.capabilities.drop[]", "only restricts"),
    ("network", "`network: false` forbids it; the default network is the backend's"),
    ("registries[].server", "gets only a password that another rule allows"),
    ("registries[].username", "is no secret of the service"),
    ("runners[]", "are configured ones; `runners` narrows them"),
];

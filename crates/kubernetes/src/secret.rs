//! An attempt's own Secret: the values of its secret environment, and the login for its image's
//! registry. Pure.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{LocalObjectReference, PodSpec, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use longshore_core::{Attempt, RegistryAuth, RegistryIdentity};
use serde_json::json;

use crate::config::KubernetesConfig;
use crate::{labels, names};

/// The type of a Secret whose [`KEY`] is a Docker configuration. It may also have other keys
/// (<https://kubernetes.io/docs/concepts/configuration/secret/#docker-config-secrets>).
const TYPE: &str = "kubernetes.io/dockerconfigjson";
const KEY: &str = ".dockerconfigjson";
/// The key of Docker's own registry in a Docker configuration.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Returns the Secret of `attempt`, which has the name of its Job; `None` if there is nothing to
/// keep secret. `show` returns the text of each value.
pub(crate) fn secret(
    attempt: &Attempt,
    config: &KubernetesConfig,
    show: impl Fn(&longshore_core::Secret) -> String,
) -> Option<Secret> {
    let registry = attempt.registry_auth.as_ref().and_then(docker_config);
    let login = registry.as_ref().map(|value| (KEY.to_owned(), show(value)));
    let environment =
        attempt.secret_env.iter().map(|(name, value)| (env_key(attempt, name), show(value)));
    let data: BTreeMap<String, String> = environment.chain(login).collect();
    (!data.is_empty()).then(|| Secret {
        metadata: ObjectMeta {
            name: Some(attempt.object_name()),
            namespace: config.namespace.clone(),
            labels: Some(labels::labels(attempt, config)),
            ..<_>::default()
        },
        type_: registry.map(|_| TYPE.to_owned()),
        immutable: Some(true),
        string_data: Some(data),
        ..<_>::default()
    })
}

/// Returns the key for the value of the variable `name`. Keys are numbered, because a key allows
/// fewer characters than the name of a variable.
pub(crate) fn env_key(attempt: &Attempt, name: &str) -> String {
    let position = attempt.secret_env.keys().position(|key| key == name).unwrap_or_default();
    format!("env-{position}")
}

/// Returns whether a Secret can represent `auth`. It can represent a name and a password. It cannot
/// represent a token that replaces both, because the kubelet reads no such token from a Docker
/// configuration (`pkg/credentialprovider/config.go`, `dockerConfigEntryWithAuth`).
pub(crate) const fn can_represent(auth: &RegistryAuth) -> bool {
    matches!(auth.identity, RegistryIdentity::Password { .. })
}

/// Returns a Docker configuration that contains `auth`, or `None` if it cannot represent `auth`.
fn docker_config(auth: &RegistryAuth) -> Option<longshore_core::Secret> {
    let RegistryIdentity::Password { username, password } = &auth.identity else { return None };
    let server = if auth.server == "docker.io" { DOCKER_HUB } else { &auth.server };
    let password = password.expose();
    let both = STANDARD.encode(format!("{username}:{password}"));
    let entry = json!({"username": username, "password": password, "auth": both});
    Some(longshore_core::Secret::new(json!({"auths": {server: entry}}).to_string()))
}

/// Returns the Secrets with which the kubelet logs in to the image's registry, in the order in
/// which it tries them: the attempt's own, then those that `config` names. If there are none,
/// admission adds the Secrets of the Pod's service account; otherwise it adds none
/// (`plugin/pkg/admission/serviceaccount`).
pub(crate) fn pull_secrets(
    attempt: &Attempt,
    config: &KubernetesConfig,
) -> Option<Vec<LocalObjectReference>> {
    let own = attempt.registry_auth.as_ref().map(|_| attempt.object_name());
    let all: Vec<_> = own
        .into_iter()
        .chain(config.image_pull_secrets.iter().cloned())
        .map(|name| LocalObjectReference { name })
        .collect();
    (!all.is_empty()).then_some(all)
}

/// Returns whether the Pod `spec` of the Job `job` reads the attempt's own Secret.
pub(crate) fn reads_own(job: &str, spec: &PodSpec) -> bool {
    let to_pull = spec.image_pull_secrets.iter().flatten().any(|secret| secret.name == job);
    let container = spec.containers.iter().find(|c| c.name == names::CONTAINER);
    let variables = container.and_then(|c| c.env.as_ref()).into_iter().flatten();
    let mut keys = variables.filter_map(|v| v.value_from.as_ref()?.secret_key_ref.as_ref());
    to_pull || keys.any(|key| key.name == job)
}

#[cfg(test)]
mod tests {
    use longshore_core::{InstallationId, JobId, JobSpec, Secret as Text};

    use super::*;
    use crate::job_view::JobView;

    fn attempt(server: &str, identity: fn(&str) -> RegistryAuth) -> Attempt {
        let spec = JobSpec::container("r/x:1".parse().unwrap());
        let installation: InstallationId = "here".parse().unwrap();
        let job: JobId = "job".parse().unwrap();
        let mut attempt = Attempt::new(installation, job, 1, spec);
        attempt.registry_auth = Some(identity(server));
        attempt
    }

    fn login(server: &str) -> RegistryAuth {
        RegistryAuth::password(server, "me", Text::new("hunter2"))
    }

    fn docker_config_of(attempt: &Attempt) -> serde_json::Value {
        let config = KubernetesConfig::default();
        let made = secret(attempt, &config, |value| value.expose().to_owned()).unwrap();
        assert_eq!(made.type_.as_deref(), Some(TYPE));
        serde_json::from_str(&made.string_data.unwrap()[KEY]).unwrap()
    }

    #[test]
    fn a_login_becomes_a_docker_configuration_as_kubectl_writes_it() {
        let entry = json!({"username": "me", "password": "hunter2", "auth": "bWU6aHVudGVyMg=="});
        for (server, key) in [("r.example:5000", "r.example:5000"), ("docker.io", DOCKER_HUB)] {
            let written = docker_config_of(&attempt(server, login));
            assert_eq!(written, json!({"auths": {key: entry}}));
        }
    }

    #[test]
    fn a_token_makes_no_secret() {
        let token = attempt("r", |server| RegistryAuth::token(server, Text::new("t")));
        assert!(!can_represent(token.registry_auth.as_ref().unwrap()));
        assert_eq!(secret(&token, &KubernetesConfig::default(), |_| String::new()), None);
    }

    #[test]
    fn a_job_tells_whether_it_reads_a_secret_of_its_own() {
        let config = KubernetesConfig {
            image_pull_secrets: vec!["team".to_owned()],
            ..KubernetesConfig::default()
        };
        let reads = |attempt: &Attempt| {
            let job = crate::translate::translate(attempt, &config).unwrap().job;
            JobView::from(&job).own_secret
        };
        let mut plain = attempt("r", login);
        assert!(reads(&plain));
        plain.registry_auth = None;
        assert!(!reads(&plain));
        plain.secret_env.insert("TOKEN".to_owned(), Text::new("x"));
        assert!(reads(&plain));
    }
}

//! Translates an attempt into what a launch submits: a Job and, for its own secrets, a Secret.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use k8s_openapi::api::batch::v1::{
    Job, JobSpec as BatchJobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, EnvVarSource, PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec,
    SecretKeySelector, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use longshore_core::{
    Attempt, Capabilities, Capability, Error, ErrorKind, JobDirectoryView, Result, SecretSource,
};

use crate::config::{KubernetesConfig, MINIMUM_TTL_SECONDS};
use crate::escape::literal;
use crate::names::{self, Commit, Ending};
use crate::{labels, resources, secret, security};

/// What a launch submits.
#[derive(Debug)]
pub(crate) struct Submission {
    /// The Job, which creates no Pod before it is released.
    pub(crate) job: Job,
}

/// Returns what a runner with this configuration can do.
pub(crate) fn capabilities(config: &KubernetesConfig) -> Capabilities {
    let all = [
        Capability::Container,
        Capability::LimitCpu,
        Capability::LimitMemory,
        Capability::Gpus,
        Capability::RunAsUser,
        Capability::ReadOnlyRootFilesystem,
        Capability::NoPrivilegeEscalation,
        Capability::SupplementalGroups,
        Capability::LinuxCapabilities,
        Capability::SeccompProfile,
        Capability::RunAsNonRoot,
        Capability::RestrictedProfile,
        Capability::SecretKeyRef,
        Capability::Stdin,
        Capability::Tty,
        Capability::Exec,
        Capability::LogTimes,
    ];
    let mut capabilities = all.into_iter().fold(Capabilities::default(), |sum, c| sum.with(c));
    // Not included: a limit on the number of processes, which the kubelet sets for all Pods
    // (`podPidsLimit`), and a job without a network, which needs a NetworkPolicy and a plug-in that
    // enforces it.
    capabilities.job_directory =
        config.persistent_volume_claim_name.is_some() && config.job_directory_root.is_some();
    capabilities
}

/// Returns what to set in `config` to get `capability`; `None` if no setting helps, or if nothing
/// is missing.
pub(crate) fn remedy(capability: Capability, config: &KubernetesConfig) -> Option<String> {
    match capability {
        Capability::JobDirectory => {}
        Capability::Volumes => {
            let remedy = "a node does not have this machine's files; add a volume of the cluster with \
                          job.kubernetes.podTemplate";
            return Some(remedy.to_owned());
        }
        _ => return None,
    }
    let claim = (config.persistent_volume_claim_name.is_none())
        .then_some("job.kubernetes.persistentVolumeClaimName");
    let root = (config.job_directory_root.is_none())
        .then_some("job.directory to where that volume is mounted here");
    let missing: Vec<&str> = claim.into_iter().chain(root).collect();
    (!missing.is_empty()).then(|| format!("set {}", missing.join(", and ")))
}

/// Returns the Job that runs `attempt`.
///
/// # Errors
/// `Unsupported` for anything that a Pod cannot express. `InvalidSpec` if the job sets something
/// beyond its security profile.
pub(crate) fn translate(attempt: &Attempt, config: &KubernetesConfig) -> Result<Submission> {
    check(attempt, config)?;
    let spec = &attempt.spec;
    let mut annotations = labels::annotations(config);
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels::labels(attempt, config)),
            annotations: none_if_empty(annotations.clone()),
            ..<_>::default()
        }),
        spec: Some(pod(attempt, config)?),
    };
    if let Some(patch) = &config.pod_template {
        patch.apply(&mut template);
    }
    annotations.extend([
        (names::COMMIT.to_owned(), Commit::Open.as_str().to_owned()),
        (names::ENDING.to_owned(), Ending::None.as_str().to_owned()),
    ]);
    annotations.extend(spec.timeout.map(|t| (names::TIMEOUT.to_owned(), t.to_string())));
    annotations.extend(spec.name.as_ref().map(|n| (names::NAME.to_owned(), n.clone())));
    let job = Job {
        metadata: ObjectMeta {
            name: Some(attempt.object_name()),
            namespace: config.namespace.clone(),
            labels: Some(labels::labels(attempt, config)),
            annotations: Some(annotations),
            owner_references: config.owner_pod.reference().map(|owner| vec![owner]),
            ..<_>::default()
        },
        spec: Some(BatchJobSpec {
            suspend: Some(true),
            // The release changes both. A Job that only admission or another controller takes out
            // of its suspension still creates no Pod.
            parallelism: Some(0),
            backoff_limit: Some(0),
            completions: Some(1),
            // Otherwise a deleted Pod is replaced while it still runs, and the job would run twice.
            pod_replacement_policy: Some("Failed".to_owned()),
            pod_failure_policy: Some(keep_the_exit_code()),
            ttl_seconds_after_finished: Some(
                i32::try_from(config.ttl_seconds_after_finished.max(MINIMUM_TTL_SECONDS))
                    .unwrap_or(i32::MAX),
            ),
            template,
            ..<_>::default()
        }),
        status: None,
    };
    Ok(Submission { job })
}

/// Returns a policy that makes the Job's condition contain the exit code of the container. The code
/// then outlives the Pod, which a cancel with a grace period other than the job's own deletes.
fn keep_the_exit_code() -> PodFailurePolicy {
    PodFailurePolicy {
        rules: vec![PodFailurePolicyRule {
            action: "FailJob".to_owned(),
            on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
                container_name: Some(names::CONTAINER.to_owned()),
                operator: "NotIn".to_owned(),
                values: vec![0],
            }),
            ..<_>::default()
        }],
    }
}

fn check(attempt: &Attempt, config: &KubernetesConfig) -> Result<()> {
    attempt.spec.ensure_supported(&capabilities(config), |c| remedy(c, config))?;
    if attempt.registry_auth.as_ref().is_some_and(|auth| !secret::can_represent(auth)) {
        return Err(unsupported(
            "the registry's credential is an identity token, for which a Kubernetes Secret has no \
             place: it takes a name and a password",
        ));
    }
    let kueue = |labels: &BTreeMap<String, String>| labels.contains_key(names::KUEUE_QUEUE);
    if kueue(&attempt.spec.labels) || kueue(&config.labels) {
        return Err(unsupported(format!(
            "the label {} gives the Job to Kueue, which would start and stop it itself",
            names::KUEUE_QUEUE
        )));
    }
    Ok(())
}

fn unsupported(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

fn pod(attempt: &Attempt, config: &KubernetesConfig) -> Result<PodSpec> {
    let spec = &attempt.spec;
    let mounts = directory_mounts(attempt, config)?;
    let grace = seconds(spec.effective_grace_period().get()).max(1);
    Ok(PodSpec {
        restart_policy: Some("Never".to_owned()),
        // Never 0: Kubernetes would forget the Pod at once, and its containers may still start.
        termination_grace_period_seconds: Some(grace),
        active_deadline_seconds: spec
            .timeout
            .map(|t| seconds(t.get().saturating_add(config.deadline_slack.get())).max(1)),
        service_account_name: config.service_account_name.clone(),
        automount_service_account_token: Some(config.automount_service_account_token),
        // Without a shared namespace the job is process 1, for which the kernel ignores every
        // signal without a handler, including TERM. With it, the Pod's pause container is process 1
        // and reaps orphans, and the runtime kills what is left in the job's container when the job
        // ends
        // (<https://kubernetes.io/docs/tasks/configure-pod-container/share-process-namespace/>).
        share_process_namespace: spec
            .container
            .as_ref()
            .is_some_and(|container| container.init)
            .then_some(true),
        // The job does not get the variables of every Service in the namespace.
        enable_service_links: Some(false),
        node_selector: none_if_empty(config.node_selector.clone()),
        image_pull_secrets: secret::pull_secrets(attempt, config),
        tolerations: given(config.tolerations.iter().map(|it| &it.0)),
        affinity: config.affinity.clone().map(|it| it.0),
        topology_spread_constraints: given(
            config.topology_spread_constraints.iter().map(|it| &it.0),
        ),
        priority_class_name: config.priority_class_name.clone(),
        runtime_class_name: config.runtime_class_name.clone(),
        host_aliases: given(config.host_aliases.iter().map(|it| &it.0)),
        dns_policy: config.dns_policy.map(|policy| policy.as_str().to_owned()),
        dns_config: config.dns_config.clone().map(|it| it.0),
        volumes: (!mounts.is_empty()).then(|| vec![volume(config)]),
        security_context: security::of_pod(spec),
        containers: vec![container(attempt, config, mounts)?],
        ..<_>::default()
    })
}

/// Returns whole seconds, rounded up.
fn seconds(duration: std::time::Duration) -> i64 {
    let whole = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    // Some of the API's fields are an int32; 68 years are enough.
    i64::try_from(whole).unwrap_or(i64::MAX).min(i64::from(i32::MAX))
}

fn none_if_empty(map: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then_some(map)
}

/// Returns `objects`, or `None` if there are none.
fn given<'a, T: Clone + 'a>(objects: impl Iterator<Item = &'a T>) -> Option<Vec<T>> {
    let objects: Vec<T> = objects.cloned().collect();
    (!objects.is_empty()).then_some(objects)
}

fn container(
    attempt: &Attempt,
    config: &KubernetesConfig,
    mounts: Vec<VolumeMount>,
) -> Result<Container> {
    let spec = &attempt.spec;
    let container =
        spec.container.as_ref().ok_or_else(|| unsupported("the job names no container"))?;
    let view = JobDirectoryView::in_container(spec);
    let words = |words: &[String]| -> Option<Vec<String>> {
        (!words.is_empty()).then(|| view.expand(words).iter().map(|w| literal(w)).collect())
    };
    Ok(Container {
        name: names::CONTAINER.to_owned(),
        image: Some(container.image.as_str().to_owned()),
        image_pull_policy: Some(attempt.pull_policy.as_str().to_owned()),
        command: words(&container.command),
        args: words(&container.args),
        working_dir: container.working_dir.clone(),
        env: Some(environment(attempt, &view)).filter(|env| !env.is_empty()),
        resources: resources::of_container(&spec.resources.limits, config)?,
        security_context: security::of_container(spec)?,
        volume_mounts: (!mounts.is_empty()).then_some(mounts),
        // The API gives a terminal only to a container with a stdin.
        stdin: (spec.stdin || spec.tty).then_some(true),
        // A terminal takes input from more than one client.
        stdin_once: (spec.stdin && !spec.tty).then_some(true),
        tty: spec.tty.then_some(true),
        ..<_>::default()
    })
}

fn environment(attempt: &Attempt, view: &JobDirectoryView) -> Vec<EnvVar> {
    let plain = view.env(&attempt.spec).into_iter().map(|(name, value)| EnvVar {
        name,
        value: Some(literal(&value)),
        value_from: None,
    });
    let own = attempt
        .secret_env
        .keys()
        .map(|name| from_secret(name, attempt.object_name(), secret::env_key(attempt, name)));
    let referenced = attempt.spec.secret_env.iter().filter_map(|(name, source)| match source {
        SecretSource::SecretKeyRef { name: secret, key } => {
            Some(from_secret(name, secret.clone(), key.clone()))
        }
        _ => None,
    });
    plain.chain(own).chain(referenced).collect()
}

fn from_secret(name: &str, secret: String, key: String) -> EnvVar {
    let selector = SecretKeySelector { name: secret, key, optional: None };
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { secret_key_ref: Some(selector), ..<_>::default() }),
    }
}

fn volume(config: &KubernetesConfig) -> Volume {
    let claim = PersistentVolumeClaimVolumeSource {
        claim_name: config.persistent_volume_claim_name.clone().unwrap_or_default(),
        read_only: None,
    };
    Volume {
        name: names::VOLUME.to_owned(),
        persistent_volume_claim: Some(claim),
        ..<_>::default()
    }
}

/// Returns the mounts of the job directory: `input` read-only at `/job/input`, `output` at
/// `/job/output`, each by its path within the volume.
fn directory_mounts(attempt: &Attempt, config: &KubernetesConfig) -> Result<Vec<VolumeMount>> {
    let (Some(directory), Some(root)) = (&attempt.spec.job_directory, &config.job_directory_root)
    else {
        return Ok(Vec::new());
    };
    let within = path_within(directory, root)?;
    let mount = |name: &str, read_only: bool| VolumeMount {
        name: names::VOLUME.to_owned(),
        mount_path: format!("{}/{name}", JobDirectoryView::IN_CONTAINER),
        sub_path: Some(if within.is_empty() {
            name.to_owned()
        } else {
            format!("{within}/{name}")
        }),
        read_only: read_only.then_some(true),
        ..<_>::default()
    };
    Ok(vec![mount("input", true), mount("output", false)])
}

/// Returns `directory` as a path within `root` for `subPath`: relative, without `..`.
fn path_within(directory: &Path, root: &Path) -> Result<String> {
    let outside = || {
        unsupported(
            "the job directory lies outside job.directory, the root of the volume that Pods see",
        )
        .with("jobDirectory", directory.display())
        .with("job.directory", root.display())
    };
    let within = directory.strip_prefix(root).map_err(|_| outside())?;
    let parts: Option<Vec<&str>> = within
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    Ok(parts.ok_or_else(outside)?.join("/"))
}

#[cfg(test)]
#[path = "translate_tests.rs"]
mod tests;

//! The configuration of the Kubernetes runner.

use std::collections::BTreeMap;
use std::path::PathBuf;

use longshore_core::{HumanDuration, SecurityProfile};
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::amounts::{Amounts, DefaultResources};
use crate::owner_pod::OwnerPod;
use crate::pod_template::PodTemplate;
use crate::strict::{Affinity, HostAlias, PodDNSConfig, Toleration, TopologySpreadConstraint};

/// One day: the minimum time that a finished Job is kept, so that its result can still be read the
/// next morning.
pub(crate) const MINIMUM_TTL_SECONDS: u32 = 86_400;

/// An object of which the schema of the configuration describes nothing more.
type Object = BTreeMap<String, serde_json::Value>;

/// The configuration of the Kubernetes runner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", schemars(rename = "KubernetesConfig"))]
#[non_exhaustive]
pub struct KubernetesConfig {
    /// The kubeconfig file. None: the files in `KUBECONFIG`, else `~/.kube/config`, else the
    /// service account of the Pod that Longshore itself runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("x-path" = true)))]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context. None: its current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The namespace in which jobs run. None: the context's, else `default`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "namespace")]
    pub namespace: Option<String>,
    /// The PersistentVolumeClaim through which a Pod sees its job directory. None: a job with a
    /// job directory is unsupported on Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim_name: Option<String>,
    /// Where that claim's volume is mounted on this machine. Every job directory must be below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("x-path" = true)))]
    pub job_directory_root: Option<PathBuf>,
    /// Labels for every Job and Pod. The job's own labels take precedence.
    pub labels: BTreeMap<String, String>,
    /// Annotations for every Job and Pod. Keys that begin with `longshore.dev/` have no effect.
    pub annotations: BTreeMap<String, String>,
    /// The service account of the job's Pod. None: the namespace's default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_name: Option<String>,
    /// Whether the Pod gets the service account's token. A token is a privilege that few jobs need,
    /// so setting `serviceAccountName` alone does not provide it.
    pub automount_service_account_token: bool,
    /// Secrets of the namespace, of type `kubernetes.io/dockerconfigjson`, with which the nodes log
    /// in to registries, in addition to the job's login from `job.registries`.
    pub image_pull_secrets: Vec<String>,
    /// Labels that a node must have to run a job.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that a job's Pod tolerates, as in a Pod's `tolerations`.
    pub tolerations: Vec<Toleration>,
    /// On which nodes and beside which Pods a job's Pod is placed, as in a Pod's `affinity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Object>"))]
    pub affinity: Option<Affinity>,
    /// How the Pods of jobs are spread, as in a Pod's `topologySpreadConstraints`.
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// The PriorityClass of a job's Pod. None: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// The RuntimeClass of a job's Pod, such as one for gVisor. None: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// Further lines of `/etc/hosts` in a job's Pod, as in a Pod's `hostAliases`.
    pub host_aliases: Vec<HostAlias>,
    /// Where a job's Pod looks up names. None: Kubernetes' default, `ClusterFirst`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_policy: Option<DnsPolicy>,
    /// Name servers and search domains in addition to those of `dnsPolicy`, as in a Pod's
    /// `dnsConfig`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<Object>"))]
    pub dns_config: Option<PodDNSConfig>,
    /// The resources of a job that sets no limit for them.
    pub default_resources: DefaultResources,
    /// The most that a job may have. A job that asks for more is refused; one that sets no limit
    /// has `defaultResources`, or else this.
    pub max_resources: Amounts,
    /// The extended resource for `resources.limits.gpus`, such as `nvidia.com/gpu` (the default) or
    /// `amd.com/gpu`.
    pub gpu_resource_name: String,
    /// A strategic merge patch of every job's Pod: `metadata` with `labels` and `annotations`, and
    /// `spec`, for everything that has no key here. The job's container is called `job`. The patch
    /// cannot change what Longshore sets for each job, such as `restartPolicy` or the container's
    /// `image` and `command`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
    /// The Pod that this command runs in, if its jobs are to end with that Pod: once the Pod is
    /// deleted, even by force, Kubernetes ends and removes them. Commands that share a
    /// `job.installation` leave alone each other's jobs, and remove those of a Pod that has ended.
    pub owner_pod: OwnerPod,
    /// How long a connection to the API server, and a whole probe, may take.
    pub connect_timeout: HumanDuration,
    /// How long the API server may take over one request.
    pub request_timeout: HumanDuration,
    /// Seconds after which Kubernetes removes a finished Job that Longshore has not removed. At
    /// least 86400 (one day); a lower value is raised to that.
    pub ttl_seconds_after_finished: u32,
    /// The Pod's own deadline is the job's timeout plus this. Kubernetes counts it from the Pod's
    /// admission, so it must cover pulling the image. It takes effect only if no Longshore process
    /// follows the job.
    pub deadline_slack: HumanDuration,
    /// The security profile of jobs that name none, as configured for all runners. A probe warns if
    /// the namespace refuses it.
    #[serde(skip)]
    pub security_profile: SecurityProfile,
}

/// Reads the name of a namespace, which is a DNS label
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>).
fn namespace<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let name = Option::<String>::deserialize(from)?;
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match name {
        Some(name)
            if !(1..=63).contains(&name.len())
                || !name.bytes().all(inner)
                || name.starts_with('-')
                || name.ends_with('-') =>
        {
            Err(D::Error::custom(format!(
                "`{name}` is not a namespace: 1 to 63 lower-case letters, digits and '-' (not first \
                 or last)"
            )))
        }
        name => Ok(name),
    }
}

/// Where a Pod looks up names
/// (<https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub enum DnsPolicy {
    /// In the cluster, and then where the node does.
    ClusterFirst,
    /// The same, for a Pod in the network of its node.
    ClusterFirstWithHostNet,
    /// Where the node does.
    Default,
    /// Only where `dnsConfig` says.
    None,
}

impl DnsPolicy {
    /// Returns the policy in Kubernetes' spelling.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterFirst => "ClusterFirst",
            Self::ClusterFirstWithHostNet => "ClusterFirstWithHostNet",
            Self::Default => "Default",
            Self::None => "None",
        }
    }
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            namespace: None,
            persistent_volume_claim_name: None,
            job_directory_root: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            service_account_name: None,
            automount_service_account_token: false,
            image_pull_secrets: Vec::new(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            topology_spread_constraints: Vec::new(),
            priority_class_name: None,
            runtime_class_name: None,
            host_aliases: Vec::new(),
            dns_policy: None,
            dns_config: None,
            default_resources: DefaultResources::default(),
            max_resources: Amounts::default(),
            gpu_resource_name: "nvidia.com/gpu".to_owned(),
            pod_template: None,
            owner_pod: OwnerPod::default(),
            connect_timeout: HumanDuration::from_secs(5),
            request_timeout: HumanDuration::from_secs(30),
            ttl_seconds_after_finished: MINIMUM_TTL_SECONDS,
            deadline_slack: HumanDuration::from_secs(15 * 60),
            security_profile: SecurityProfile::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused() {
        let error = serde_json::from_str::<KubernetesConfig>(r#"{"nameSpace": "x"}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `nameSpace`"), "{error}");
    }

    /// The API server answered 404, so that each job passed the runner over as if it were away.
    #[test]
    fn the_name_of_a_namespace_that_none_can_have_is_refused() {
        let read = |name: &str| {
            let config = serde_json::json!({"namespace": name});
            serde_json::from_value::<KubernetesConfig>(config).map(|config| config.namespace)
        };
        for good in ["a", "team-1", "7"] {
            assert_eq!(read(good).unwrap().as_deref(), Some(good));
        }
        let long = "a".repeat(64);
        for bad in ["", "Team", "a_b", "a.b", "-a", "a-", "a/../b", long.as_str()] {
            let said = read(bad).unwrap_err().to_string();
            assert!(said.starts_with(&format!("`{bad}` is not a namespace: 1 to 63")), "{said}");
        }
        let none = serde_json::json!({"namespace": null});
        assert_eq!(serde_json::from_value::<KubernetesConfig>(none).unwrap().namespace, None);
    }

    #[test]
    fn a_configuration_is_read_as_it_is_written() {
        let config: KubernetesConfig = serde_json::from_value(serde_json::json!({
            "namespace": "jobs", "persistentVolumeClaimName": "shared",
            "connectTimeout": "2s", "ttlSecondsAfterFinished": 172800,
            "tolerations": [{"key": "batch", "operator": "Exists"}],
        }))
        .unwrap();
        assert_eq!(config.connect_timeout, HumanDuration::from_secs(2));
        let again = serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
        assert_eq!(config, again);
    }
}

//! The identity and privileges of a job's container.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::linux_capability::LinuxCapability;

/// How far a job's container is confined, in the terms of Kubernetes' Pod Security Standards
/// (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>).
///
/// A profile has two effects, the same on every runner for containers. It sets what the job's
/// [`SecurityContext`] leaves open, and it limits what the job may set there. The variants are in
/// the order of what they allow: the first allows the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityProfile {
    /// The container must not run as root, has no capabilities, the runtime's default seccomp
    /// profile, and no privilege escalation. A job whose image runs as root is refused before it
    /// starts, unless the job names another user.
    Restricted,
    /// The container may run as root. Unless the job says otherwise, it has the runtime's default
    /// seccomp profile and no privilege escalation. The job may add only capabilities that the
    /// container has by default, after it has dropped them.
    #[default]
    Baseline,
    /// The job may set everything. What it leaves open has the default of the backend.
    Privileged,
}

crate::serde_as_text!(SecurityProfile);

/// The error for text that is not a security profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a security profile: use privileged, baseline or restricted")]
pub struct SecurityProfileError(String);

impl SecurityProfile {
    /// Every profile; the first allows the least.
    pub const ALL: [Self; 3] = [Self::Restricted, Self::Baseline, Self::Privileged];

    /// Returns the profile in Kubernetes' spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restricted => "restricted",
            Self::Baseline => "baseline",
            Self::Privileged => "privileged",
        }
    }

    /// Returns whether a job with this profile may add `capability`.
    fn allows(self, capability: LinuxCapability) -> bool {
        match self {
            Self::Restricted => capability.as_str() == "NET_BIND_SERVICE",
            Self::Baseline => capability.is_default(),
            Self::Privileged => true,
        }
    }
}

impl FromStr for SecurityProfile {
    type Err = SecurityProfileError;

    fn from_str(text: &str) -> Result<Self, SecurityProfileError> {
        let found = Self::ALL.into_iter().find(|p| p.as_str().eq_ignore_ascii_case(text.trim()));
        found.ok_or_else(|| SecurityProfileError(text.to_owned()))
    }
}

impl fmt::Display for SecurityProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for SecurityProfile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecurityProfile".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "description": "How far a job's container is confined.",
            "enum": ["privileged", "baseline", "restricted"],
        })
    }
}

/// The identity and privileges of a job's container, with the names of Kubernetes'
/// `securityContext`. The job's security profile sets what is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct SecurityContext {
    /// The numeric user id. Default: the image's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<u32>,
    /// The numeric group id. Default: the image's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<u32>,
    /// Whether a job that would run as root is refused before it starts. The user must then be
    /// numeric: a name could belong to root. Default: only with the profile `restricted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as_non_root: Option<bool>,
    /// Numeric ids of further groups of the job's processes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supplemental_groups: Vec<u32>,
    /// Whether the container's root filesystem is read-only.
    pub read_only_root_filesystem: bool,
    /// Whether a process may gain more privileges than its parent (setuid programs). Default: no,
    /// except with the profile `privileged`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_privilege_escalation: Option<bool>,
    /// The Linux capabilities of the container. Default: those of the container runtime, or none
    /// with the profile `restricted`.
    #[serde(skip_serializing_if = "LinuxCapabilities::is_empty")]
    pub capabilities: LinuxCapabilities,
    /// Which system calls are filtered. Default: as the container runtime does by default, except
    /// with the profile `privileged`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seccomp_profile: Option<SeccompProfile>,
}

/// Changes to the capabilities that a container has by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LinuxCapabilities {
    /// Capabilities to add, such as `NET_ADMIN`, or `ALL`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<LinuxCapability>,
    /// Capabilities to take away, such as `CHOWN`, or `ALL`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<LinuxCapability>,
}

impl LinuxCapabilities {
    /// Returns whether these are no changes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.add.is_empty() && self.drop.is_empty()
    }
}

/// A seccomp profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct SeccompProfile {
    /// The kind of profile.
    #[serde(rename = "type")]
    pub kind: SeccompProfileType,
}

/// The kinds of seccomp profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[non_exhaustive]
pub enum SeccompProfileType {
    /// The default profile of the container runtime.
    RuntimeDefault,
    /// No system call is filtered.
    Unconfined,
}

impl SeccompProfile {
    /// Creates a profile of this kind.
    #[must_use]
    pub const fn new(kind: SeccompProfileType) -> Self {
        Self { kind }
    }
}

impl SecurityContext {
    /// Returns the setting that is beyond `profile`, as `key: value`; `None` if every setting is
    /// within it. The limits are those of the Pod Security Standards.
    #[must_use]
    pub fn beyond(&self, profile: SecurityProfile) -> Option<String> {
        let refused = self.capabilities.add.iter().find(|one| !profile.allows(**one));
        if let Some(capability) = refused {
            return Some(format!("capabilities.add: {capability}"));
        }
        let unconfined = self.seccomp_profile.map(|it| it.kind);
        if profile <= SecurityProfile::Baseline
            && unconfined == Some(SeccompProfileType::Unconfined)
        {
            return Some("seccompProfile: Unconfined".to_owned());
        }
        if profile > SecurityProfile::Restricted {
            return None;
        }
        let found = [
            (self.run_as_user == Some(0), "runAsUser: 0"),
            (self.run_as_non_root == Some(false), "runAsNonRoot: false"),
            (self.allow_privilege_escalation == Some(true), "allowPrivilegeEscalation: true"),
        ];
        found.into_iter().find_map(|(beyond, what)| beyond.then(|| what.to_owned()))
    }

    /// Returns this context with what `profile` sets for what is left open.
    #[must_use]
    pub fn completed(mut self, profile: SecurityProfile) -> Self {
        if profile == SecurityProfile::Privileged {
            return self;
        }
        self.allow_privilege_escalation.get_or_insert(false);
        let default = SeccompProfile::new(SeccompProfileType::RuntimeDefault);
        self.seccomp_profile.get_or_insert(default);
        if profile == SecurityProfile::Restricted {
            self.run_as_non_root.get_or_insert(true);
            self.capabilities.drop = vec![LinuxCapability::ALL];
        }
        self
    }

    /// Returns whether a container with this context and an image whose user is `image_user`
    /// (`USER` in a Dockerfile, empty for none) must be refused because it runs as root, or may.
    /// Returns the reason.
    ///
    /// The kubelet decides in the same way (`pkg/kubelet/kuberuntime/security_context.go`).
    #[must_use]
    pub fn refuses_root(&self, image_user: &str) -> Option<String> {
        if self.run_as_non_root != Some(true) || self.run_as_user.is_some_and(|user| user != 0) {
            return None;
        }
        let user = image_user.split(':').next().unwrap_or_default();
        match user.parse::<i64>() {
            _ if self.run_as_user == Some(0) => Some("the job's runAsUser is 0, root".to_owned()),
            Ok(0) => Some("the image runs as root".to_owned()),
            Ok(_) => None,
            Err(_) if user.is_empty() || user == "root" => {
                Some("the image runs as root".to_owned())
            }
            Err(_) => Some(format!("the image's user `{user}` is not numeric, and may be root")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SecurityProfile::{Baseline, Privileged, Restricted};
    use super::*;

    fn context(text: &str) -> SecurityContext {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn each_setting_is_within_the_profiles_that_pod_security_names() {
        for (text, within) in [
            ("{}", Restricted),
            (r#"{"runAsUser": 1000, "runAsNonRoot": true}"#, Restricted),
            (r#"{"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}"#, Restricted),
            (r#"{"seccompProfile": {"type": "RuntimeDefault"}}"#, Restricted),
            (r#"{"runAsUser": 0}"#, Baseline),
            (r#"{"runAsNonRoot": false}"#, Baseline),
            (r#"{"allowPrivilegeEscalation": true}"#, Baseline),
            (r#"{"capabilities": {"add": ["CHOWN"]}}"#, Baseline),
            (r#"{"capabilities": {"add": ["NET_ADMIN"]}}"#, Privileged),
            (r#"{"capabilities": {"add": ["ALL"]}}"#, Privileged),
            (r#"{"seccompProfile": {"type": "Unconfined"}}"#, Privileged),
        ] {
            for profile in SecurityProfile::ALL {
                let beyond = context(text).beyond(profile);
                assert_eq!(beyond.is_none(), profile >= within, "{text} in {profile}: {beyond:?}");
            }
        }
    }

    #[test]
    fn a_profile_sets_only_what_is_left_open() {
        let open = SecurityContext::default();
        assert_eq!(open.clone().completed(Privileged), open);
        let baseline = open.clone().completed(Baseline);
        assert_eq!(
            serde_json::to_value(&baseline).unwrap(),
            serde_json::json!({
                "readOnlyRootFilesystem": false,
                "allowPrivilegeEscalation": false,
                "seccompProfile": {"type": "RuntimeDefault"},
            })
        );
        let restricted = open.completed(Restricted);
        assert_eq!(restricted.run_as_non_root, Some(true));
        assert_eq!(restricted.capabilities.drop, [LinuxCapability::ALL]);
        let own = context(r#"{"allowPrivilegeEscalation": true}"#).completed(Baseline);
        assert_eq!(own.allow_privilege_escalation, Some(true));
    }

    #[test]
    fn only_a_numeric_user_other_than_0_is_surely_not_root() {
        for (own, image, refused) in [
            (None, "", true),
            (None, "root", true),
            (None, "0", true),
            (None, "00:7", true),
            (None, "0:1000", true),
            (None, "app", true),
            (None, "1000", false),
            (None, "1000:0", false),
            (Some(1000), "", false),
            (Some(1000), "root", false),
            (Some(0), "1000", true),
        ] {
            let mut context = SecurityContext { run_as_user: own, ..SecurityContext::default() };
            assert_eq!(context.refuses_root(image), None);
            context.run_as_non_root = Some(true);
            let found = context.refuses_root(image);
            assert_eq!(found.is_some(), refused, "{own:?} {image}: {found:?}");
        }
    }

    #[test]
    fn a_profile_is_read_in_any_case_and_another_word_is_refused() {
        assert_eq!("Restricted".parse(), Ok(Restricted));
        let error = "strict".parse::<SecurityProfile>().unwrap_err().to_string();
        assert_eq!(
            error,
            "`strict` is not a security profile: use privileged, baseline or restricted"
        );
    }
}

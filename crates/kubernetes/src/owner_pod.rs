//! The Pod that owns the jobs of a command: Kubernetes removes them with it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) const KIND: &str = "Pod";
pub(crate) const API_VERSION: &str = "v1";

/// The Pod of a command, which owns the command's jobs. Set all keys or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct OwnerPod {
    /// The Pod's namespace, which must be that of the jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The Pod's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The Pod's uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl OwnerPod {
    /// Returns the entry for `metadata.ownerReferences`. It does not set `blockOwnerDeletion`, for
    /// which some clusters demand a further permission.
    pub(crate) fn reference(&self) -> Option<OwnerReference> {
        Some(OwnerReference {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            name: self.name.clone()?,
            uid: self.uid.clone()?,
            ..<_>::default()
        })
    }
}

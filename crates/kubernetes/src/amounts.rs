//! Amounts of resources in a configuration.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use longshore_core::{Cpu, Memory};
#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Amounts of resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Amounts {
    /// CPU time, such as `500m` or `2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Memory, such as `64Mi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// Space for the container's own files and logs on its node, such as `10Gi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_storage: Option<Memory>,
}

/// The resources of a job that sets none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct DefaultResources {
    /// What the job is limited to.
    pub limits: Amounts,
    /// What the scheduler reserves for the job. What is left out equals the limit.
    pub requests: Amounts,
}

impl Amounts {
    /// Returns these amounts, with those of `other` for what is left out.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.or(other.cpu),
            memory: self.memory.or(other.memory),
            ephemeral_storage: self.ephemeral_storage.or(other.ephemeral_storage),
        }
    }

    fn named(self) -> [(&'static str, Option<String>); 3] {
        [
            ("cpu", self.cpu.map(|it| it.to_string())),
            ("memory", self.memory.map(|it| it.to_string())),
            ("ephemeral-storage", self.ephemeral_storage.map(|it| it.to_string())),
        ]
    }

    /// Returns these amounts as a Pod has them.
    pub(crate) fn quantities(self) -> BTreeMap<String, Quantity> {
        let set = self.named().into_iter();
        set.filter_map(|(name, it)| Some((name.to_owned(), Quantity(it?)))).collect()
    }

    /// Returns the first amount that is larger than in `maximum`, with both.
    pub(crate) fn excess(self, maximum: Self) -> Option<(&'static str, String, String)> {
        let larger = [
            matches!((self.cpu, maximum.cpu), (Some(one), Some(most)) if one > most),
            matches!((self.memory, maximum.memory), (Some(one), Some(most)) if one > most),
            matches!(
                (self.ephemeral_storage, maximum.ephemeral_storage),
                (Some(one), Some(most)) if one > most
            ),
        ];
        let both = self.named().into_iter().zip(maximum.named());
        let found = both.zip(larger).find(|(_, larger)| *larger)?.0;
        Some((found.0.0, found.0.1?, found.1.1?))
    }
}

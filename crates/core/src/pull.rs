//! When an image is pulled.

// No input may cause a panic.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing)
)]

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// When a job's image is pulled, on every runner.
///
/// The values have Kubernetes' names and meanings
/// (<https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy>). They are read in
/// any case. `IfNotPresent` is also read in the spellings of GitLab Runner (`if-not-present`) and
/// Docker (`missing`). Unlike in Kubernetes, the default does not depend on the tag: it is
/// `IfNotPresent` for `latest` too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PullPolicy {
    /// Ask the registry at each launch. A local copy is used only if the tag still names it.
    Always,
    /// Use a local copy if there is one, else pull.
    #[default]
    IfNotPresent,
    /// Never ask a registry. Without a local copy the image is unavailable.
    Never,
}

crate::serde_as_text!(PullPolicy);

/// The error for text that is not a pull policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a pull policy: use Always, IfNotPresent or Never")]
pub struct PullPolicyError(String);

impl PullPolicy {
    /// Returns the policy in Kubernetes' spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

impl FromStr for PullPolicy {
    type Err = PullPolicyError;

    fn from_str(text: &str) -> Result<Self, PullPolicyError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "always" => Ok(Self::Always),
            "ifnotpresent" | "if-not-present" | "missing" => Ok(Self::IfNotPresent),
            "never" => Ok(Self::Never),
            _ => Err(PullPolicyError(text.to_owned())),
        }
    }
}

impl fmt::Display for PullPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for PullPolicy {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PullPolicy".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "description": "When an image is pulled.",
            "enum": ["Always", "IfNotPresent", "Never"],
        })
    }
}

/// One pull policy, or several that are tried in turn.
///
/// `[Always, IfNotPresent]` means "the newest image, else the local copy". The list is never empty.
/// No policy follows `Never` or repeats, because it would change nothing.
///
/// The next policy is tried only if the registry gave no answer
/// ([`ImageReason::Unreachable`](crate::ImageReason::Unreachable)). Any definite answer ends the
/// list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "OneOrMany", into = "OneOrMany")]
pub struct PullPolicies(Vec<PullPolicy>);

impl PullPolicies {
    /// Returns the policies in the order in which they are tried; at least one.
    pub fn iter(&self) -> impl Iterator<Item = PullPolicy> + '_ {
        self.0.iter().copied()
    }
}

impl Default for PullPolicies {
    fn default() -> Self {
        PullPolicy::default().into()
    }
}

impl From<PullPolicy> for PullPolicies {
    fn from(policy: PullPolicy) -> Self {
        Self(vec![policy])
    }
}

/// The error for an invalid list of pull policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PullPoliciesError {
    /// The list is empty.
    #[error("the list of pull policies is empty: name at least one of Always, IfNotPresent, Never")]
    Empty,
    /// A policy is listed twice.
    #[error("the pull policy {0} is listed twice")]
    Repeated(PullPolicy),
    /// A policy follows `Never`, which asks no registry: its answer is always definite.
    #[error("the pull policy {0} follows Never in the list and would not be tried")]
    AfterNever(PullPolicy),
}

impl TryFrom<Vec<PullPolicy>> for PullPolicies {
    type Error = PullPoliciesError;

    fn try_from(policies: Vec<PullPolicy>) -> Result<Self, PullPoliciesError> {
        if policies.is_empty() {
            return Err(PullPoliciesError::Empty);
        }
        let repeated = |(i, p): &(usize, &PullPolicy)| policies.iter().take(*i).any(|e| e == *p);
        if let Some((_, policy)) = policies.iter().enumerate().find(repeated) {
            return Err(PullPoliciesError::Repeated(*policy));
        }
        match policies.iter().skip_while(|p| **p != PullPolicy::Never).nth(1) {
            Some(policy) => Err(PullPoliciesError::AfterNever(*policy)),
            None => Ok(Self(policies)),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl TryFrom<OneOrMany> for PullPolicies {
    type Error = String;

    fn try_from(given: OneOrMany) -> Result<Self, String> {
        let texts = match given {
            OneOrMany::One(text) => return text.parse(),
            OneOrMany::Many(texts) => texts,
        };
        let policies: Result<Vec<PullPolicy>, _> = texts.iter().map(|t| t.parse()).collect();
        policies
            .map_err(|e| e.to_string())?
            .try_into()
            .map_err(|e: PullPoliciesError| e.to_string())
    }
}

impl From<PullPolicies> for OneOrMany {
    fn from(policies: PullPolicies) -> Self {
        match policies.0.as_slice() {
            [policy] => Self::One(policy.to_string()),
            many => Self::Many(many.iter().map(ToString::to_string).collect()),
        }
    }
}

impl FromStr for PullPolicies {
    type Err = String;

    /// Parses one policy, or several separated by commas, as in `Always,IfNotPresent`.
    fn from_str(text: &str) -> Result<Self, String> {
        let policies: Result<Vec<PullPolicy>, _> = text.split(',').map(str::parse).collect();
        policies
            .map_err(|e| e.to_string())?
            .try_into()
            .map_err(|e: PullPoliciesError| e.to_string())
    }
}

impl fmt::Display for PullPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(PullPolicy::as_str).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(feature = "schema")]
impl JsonSchema for PullPolicies {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PullPolicies".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<PullPolicy>();
        schemars::json_schema!({
            "anyOf": [one, {"type": "array", "items": one, "minItems": 1, "uniqueItems": true}],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_in_any_case_and_in_gitlabs_spelling() {
        for (text, policy) in [
            ("Always", PullPolicy::Always),
            ("always", PullPolicy::Always),
            ("IFNOTPRESENT", PullPolicy::IfNotPresent),
            ("if-not-present", PullPolicy::IfNotPresent),
            ("never", PullPolicy::Never),
        ] {
            assert_eq!(text.parse(), Ok(policy));
        }
    }

    #[test]
    fn any_other_value_is_refused_with_the_values_allowed() {
        let error = "IfAbsent".parse::<PullPolicy>().unwrap_err().to_string();
        assert!(error.contains("`IfAbsent`") && error.contains("Always, IfNotPresent or Never"));
    }

    #[test]
    fn a_list_of_policies_is_not_empty_repeats_nothing_and_ends_with_never() {
        let read =
            |json: &str| serde_json::from_str::<PullPolicies>(json).map_err(|e| e.to_string());
        assert_eq!(read("\"never\"").unwrap(), PullPolicy::Never.into());
        assert_eq!(
            read("[\"Always\", \"ifnotpresent\"]").unwrap(),
            "Always,IfNotPresent".parse().unwrap()
        );
        assert!(read("[]").unwrap_err().contains("is empty"));
        assert!(read("[\"Never\", \"Never\"]").unwrap_err().contains("Never is listed twice"));
        assert!(read("[\"Always\", \"Never\"]").is_ok());
        let after = read("[\"Never\", \"Always\"]").unwrap_err();
        assert!(after.contains("Always follows Never"), "{after}");
    }
}

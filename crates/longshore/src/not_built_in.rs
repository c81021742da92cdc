//! The settings of a backend that is not built in.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The settings of a backend that is not built in. They are kept as they were read, so that programs
/// with other features can read the same configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(transparent)]
pub struct NotBuiltIn(pub Map<String, Value>);

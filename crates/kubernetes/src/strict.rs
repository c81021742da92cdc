//! Objects of Kubernetes' API in a configuration.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// An object of Kubernetes' API, read from a configuration.
///
/// The API's own types ignore a field that they do not know. This type refuses it, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Strict<T>(pub T);

impl<'de, T: DeserializeOwned + Serialize> Deserialize<'de> for Strict<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Value::deserialize(deserializer)?;
        read(&given).map(Self).map_err(D::Error::custom)
    }
}

impl<T: JsonSchema> JsonSchema for Strict<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Returns `given` as a `T`.
///
/// # Errors
/// The path of a field that `T` does not know, or why a value has the wrong type.
pub(crate) fn read<T: DeserializeOwned + Serialize>(given: &Value) -> Result<T, String> {
    let object: T = serde_json::from_value(given.clone()).map_err(|e| e.to_string())?;
    let known = serde_json::to_value(&object).map_err(|e| e.to_string())?;
    match unknown(given, &known) {
        Some(path) => Err(format!("unknown field `{path}`")),
        None => Ok(object),
    }
}

/// Returns the path of a field that `given` has and `known` has not.
fn unknown(given: &Value, known: &Value) -> Option<String> {
    let joined = |key: &str, rest: String| {
        if rest.starts_with('[') || rest.is_empty() {
            format!("{key}{rest}")
        } else {
            format!("{key}.{rest}")
        }
    };
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            let set = given.iter().filter(|(_, value)| !value.is_null());
            set.into_iter().find_map(|(key, value)| match known.get(key) {
                None => Some(key.clone()),
                Some(known) => unknown(value, known).map(|rest| joined(key, rest)),
            })
        }
        (Value::Array(given), Value::Array(known)) => {
            let mut pairs = given.iter().zip(known).enumerate();
            pairs.find_map(|(index, (given, known))| {
                unknown(given, known).map(|rest| joined(&format!("[{index}]"), rest))
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Affinity, Toleration};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_kubernetes_does_not_know_is_refused_by_name() {
        let error = |value: Value| read::<Affinity>(&value).unwrap_err();
        assert_eq!(error(json!({"nodeAfinity": {}})), "unknown field `nodeAfinity`");
        let nested = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "zone"}, {"topologyKey": "zone", "labelSelektor": {}},
        ]}});
        assert_eq!(
            error(nested),
            "unknown field `podAffinity.requiredDuringSchedulingIgnoredDuringExecution[1]\
             .labelSelektor`"
        );
        let wrong = read::<Toleration>(&json!({"tolerationSeconds": "soon"})).unwrap_err();
        assert!(wrong.contains("soon"), "{wrong}");
        read::<Toleration>(&json!({"key": "batch", "operator": "Exists", "value": null})).unwrap();
    }
}

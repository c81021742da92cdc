//! Objects of Kubernetes' API in a configuration.

use k8s_openapi::api::core::v1 as api;
#[cfg(feature = "schema")]
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Defines an object of Kubernetes' API in a configuration. The API's own type is not part of the
/// interface, because its version is the application's choice.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// It is deserialised from the fields of the API. A field that the API does not know is an
        /// error that names it.
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub(crate) api::$name);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let given = Value::deserialize(deserializer)?;
                read(&given).map(Self).map_err(D::Error::custom)
            }
        }

        #[cfg(feature = "schema")]
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                api::$name::inline_schema()
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                api::$name::schema_name()
            }

            fn schema_id() -> std::borrow::Cow<'static, str> {
                api::$name::schema_id()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                api::$name::json_schema(generator)
            }
        }
    };
}

object! {
    /// An entry of a Pod's `tolerations`.
    Toleration
}
object! {
    /// A Pod's `affinity`.
    Affinity
}
object! {
    /// An entry of a Pod's `topologySpreadConstraints`.
    TopologySpreadConstraint
}
object! {
    /// An entry of a Pod's `hostAliases`.
    HostAlias
}
object! {
    /// A Pod's `dnsConfig`.
    PodDNSConfig
}

/// Returns `given` as a `T`.
///
/// # Errors
/// The path of a field that `T` does not know, or why a value has the wrong type.
pub(crate) fn read<T: DeserializeOwned + Serialize>(given: &Value) -> Result<T, String> {
    let object: T = serde_json::from_str(&given.to_string()).map_err(|e| message(&e))?;
    let known = to_json(&object).map_err(|e| message(&e))?;
    match unknown(given, &known) {
        Some(path) => Err(format!("unknown field `{path}`")),
        None => Ok(object),
    }
}

/// Returns `object` as JSON, by way of its text: the code that writes an object as text is there
/// anyway, for requests, and a second one for this purpose would be as large.
pub(crate) fn to_json(object: &impl Serialize) -> Result<Value, serde_json::Error> {
    serde_json::from_str(&serde_json::to_string(object)?)
}

/// Returns the message of `error` without the place in a text that nobody has written.
fn message(error: &serde_json::Error) -> String {
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
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

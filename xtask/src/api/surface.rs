//! The rules of the public interface: which types a signature may name.

use std::collections::BTreeSet;

use serde_json::Value;

use super::interface::Interface;

/// The foreign crates whose types a signature may name. Each is a promise to users: its next major
/// version is ours too. Types of a backend's client, such as kube's, are never among them.
const FOREIGN: [&str; 11] = [
    "alloc",
    "bytes",
    "core",
    "futures_core",
    "jiff",
    "schemars",
    "serde_core",
    "serde_json",
    "std",
    "tokio",
    "tokio_util",
];

/// A type or a trait: its crate and its name.
type Named = (String, String);

/// Returns the violations, one line each.
pub(super) fn broken(interfaces: &[Interface]) -> Vec<String> {
    let facade = interfaces.first().map(exported).unwrap_or_default();
    let mut broken = BTreeSet::new();
    for interface in interfaces {
        for (krate, name) in named(&interface.json) {
            let by = &interface.krate;
            if !krate.starts_with("longshore") {
                if !FOREIGN.contains(&&*krate) {
                    broken.insert(format!("{by} names {krate}::{name} in its public interface"));
                }
            } else if !facade.contains(&(krate.clone(), name.clone())) {
                broken.insert(format!(
                    "{by} names {krate}::{name}, which the facade does not export"
                ));
            }
        }
    }
    broken.into_iter().collect()
}

/// Returns what the facade exports: its own items, and those of other crates.
fn exported(facade: &Interface) -> BTreeSet<Named> {
    let ids = items(&facade.json).flat_map(|item| [&item["id"], &item["inner"]["use"]["id"]]);
    ids.filter_map(Value::as_u64).filter_map(|id| resolve(&facade.json, id)).collect()
}

fn items(json: &Value) -> impl Iterator<Item = &Value> {
    json["index"].as_object().into_iter().flat_map(serde_json::Map::values)
}

/// Returns the types and traits that public signatures name. Blanket implementations, and those that
/// the compiler adds, do not count.
fn named(json: &Value) -> BTreeSet<Named> {
    let implied = |item: &&Value| {
        let block = &item["inner"]["impl"];
        !block["blanket_impl"].is_null() || block["is_synthetic"] == true
    };
    let skipped: BTreeSet<u64> = items(json)
        .filter(implied)
        .flat_map(|item| item["inner"]["impl"]["items"].as_array().into_iter().flatten())
        .filter_map(Value::as_u64)
        .collect();
    let mut ids = BTreeSet::new();
    for item in items(json).filter(|item| !implied(item)) {
        if item["id"].as_u64().is_none_or(|id| !skipped.contains(&id)) {
            collect(&item["inner"], &mut ids);
        }
    }
    ids.iter().filter_map(|id| resolve(json, *id)).collect()
}

/// Collects the ids of all paths in `value`. A path is an object with `path`, `id` and `args`.
fn collect(value: &Value, ids: &mut BTreeSet<u64>) {
    match value {
        Value::Object(object) => {
            if let (Some(id), true) = (object.get("id"), object.contains_key("args")) {
                ids.extend(id.as_u64());
            }
            object.values().for_each(|value| collect(value, ids));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, ids)),
        _ => {}
    }
}

fn resolve(json: &Value, id: u64) -> Option<Named> {
    let path = json["paths"][id.to_string()]["path"].as_array()?;
    let text = |value: Option<&Value>| Some(value?.as_str()?.to_owned());
    Some((text(path.first())?, text(path.last())?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the interface of a crate with a function that takes a type of `named`'s crate.
    fn taking(krate: &str, named: [&str; 2]) -> Interface {
        let path = json!({"path": named[1], "id": 7, "args": null});
        let function = json!({"inputs": [["it", {"resolved_path": path}]]});
        let json = json!({
            "index": {"1": {"id": 1, "inner": {"function": {"sig": function}}}},
            "paths": {"7": {"path": named}},
        });
        Interface { krate: krate.to_owned(), json, listing: String::new() }
    }

    /// Returns the interface of a facade that exports one type.
    fn facade(exported: [&str; 2]) -> Interface {
        let json = json!({
            "index": {"1": {"id": 1, "inner": {"use": {"id": 7}}}},
            "paths": {"7": {"path": exported}},
        });
        Interface { krate: "longshore".to_owned(), json, listing: String::new() }
    }

    #[test]
    fn a_type_of_a_backends_client_is_refused_in_a_signature() {
        let facade = facade(["longshore_core", "Runner"]);
        let broken = broken(&[facade, taking("longshore_kubernetes", ["kube", "Client"])]);
        assert_eq!(broken, ["longshore_kubernetes names kube::Client in its public interface"]);
    }

    #[test]
    fn a_signature_names_only_what_the_facade_exports() {
        let both = |name| {
            broken(&[
                facade(["longshore_core", "Runner"]),
                taking("longshore_dispatch", ["longshore_core", name]),
            ])
        };
        assert!(both("Runner").is_empty());
        let missing =
            "longshore_dispatch names longshore_core::Health, which the facade does not export";
        assert_eq!(both("Health"), [missing]);
    }
}

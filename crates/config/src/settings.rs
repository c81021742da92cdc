//! Lists each key with its value in force and its origin.

use serde_json::{Map, Value as Json};

use crate::node::{Node, Path, dotted};
use crate::schema::Part;
use crate::{Setting, typed};

const MASK: &str = "***";

/// Returns all keys of the schema `part`, with values from `values` and origins from `layers`.
pub(crate) fn settings(values: &Json, part: Part, layers: &[Node]) -> Vec<Setting> {
    let mut lister = Lister { layers, path: Vec::new(), settings: Vec::new() };
    lister.list(Some(values), part);
    lister.settings
}

struct Lister<'a> {
    layers: &'a [Node],
    path: Path,
    settings: Vec<Setting>,
}

impl Lister<'_> {
    fn list(&mut self, value: Option<&Json>, part: Part) {
        let fields = value.and_then(Json::as_object).filter(|_| !part.is_secret());
        match fields {
            Some(fields) if !fields.is_empty() || part.is_table() => {
                // A key that is not serialised because it is not set is still listed.
                let named = part.properties().map(|(key, part)| (key.to_owned(), Some(part)));
                let others = fields.keys().filter(|key| part.property(key).is_none());
                let others = others.map(|k| (k.clone(), part.others()));
                let mut children: Vec<_> = named.chain(others).collect();
                children.sort_by(|a, b| a.0.cmp(&b.0));
                for (key, child) in children {
                    let value = fields.get(&key);
                    self.path.push(key);
                    self.list(value, child.unwrap_or(part));
                    self.path.pop();
                }
            }
            _ => self.leaf(value, part),
        }
    }

    fn leaf(&mut self, value: Option<&Json>, part: Part) {
        let mut value = value.cloned().unwrap_or(Json::Null);
        mask(&mut value, part);
        let origin = typed::origin(self.layers, &self.path);
        self.settings.push(Setting { key: dotted(&self.path), value, origin });
    }
}

/// Replaces each secret that is set.
fn mask(value: &mut Json, part: Part) {
    if part.is_secret() && !value.is_null() {
        *value = MASK.into();
        return;
    }
    match value {
        Json::Array(items) => {
            let Some(part) = part.items() else { return };
            items.iter_mut().for_each(|item| mask(item, part));
        }
        Json::Object(fields) => mask_fields(fields, part),
        _ => {}
    }
}

fn mask_fields(fields: &mut Map<String, Json>, part: Part) {
    for (key, value) in fields {
        if let Some(part) = part.child(key) {
            mask(value, part);
        }
    }
}

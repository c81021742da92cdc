//! Makes relative paths absolute.

use std::path::{Path, absolute};

use crate::Origin;
use crate::node::{Node, Value};
use crate::schema::Part;

/// Makes each relative path in `node` absolute.
///
/// A path in a file is relative to the folder of that file. A path from the environment or from a
/// flag is relative to the working directory.
pub(crate) fn anchor(node: &mut Node, part: Part<'_>) {
    match &mut node.value {
        Value::Text(text) if part.is_path() => {
            if let Some(path) = anchored(text, &node.origin) {
                *text = path;
            }
        }
        Value::List(items) => {
            let Some(part) = part.items() else { return };
            items.iter_mut().for_each(|item| anchor(item, part));
        }
        Value::Table(fields) => {
            for (key, field) in fields {
                if let Some(part) = part.child(key) {
                    anchor(field, part);
                }
            }
        }
        _ => {}
    }
}

/// Returns `path` as an absolute path, or `None` if it is empty or there is no working directory.
fn anchored(path: &str, origin: &Origin) -> Option<String> {
    if path.is_empty() {
        return None;
    }
    let folder = match origin {
        Origin::File(location) => location.path.parent(),
        _ => None,
    };
    let path = absolute(folder.unwrap_or(Path::new("")).join(path)).ok()?;
    path.into_os_string().into_string().ok()
}

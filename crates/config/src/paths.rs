//! Makes relative paths absolute.

use std::path::{Path, absolute};

use crate::node::{self, Node, Value, dotted};
use crate::schema::Part;
use crate::{Origin, Problem};

/// Makes each relative path in `node` absolute. Returns the paths that cannot be meant as they are
/// written.
///
/// A path in a file is relative to the folder of that file. A path from the environment or from a
/// flag is relative to the working directory.
pub(crate) fn anchor(node: &mut Node, part: Part) -> Vec<Problem> {
    let mut problems = Vec::new();
    anchor_below(node, part, &mut Vec::new(), &mut problems);
    problems
}

fn anchor_below(node: &mut Node, part: Part, key: &mut node::Path, problems: &mut Vec<Problem>) {
    match &mut node.value {
        Value::Text(text) if part.is_path() => {
            if text == "~" || text.starts_with("~/") {
                let message = "only a shell replaces ~ by the home folder: write the whole path";
                problems.push(Problem::new(message).at(node.origin.clone()).key(dotted(key)));
            } else if let Some(path) = anchored(text, &node.origin) {
                *text = path;
            }
        }
        Value::List(items) => {
            let Some(part) = part.items() else { return };
            for (i, item) in items.iter_mut().enumerate() {
                key.push(i.to_string());
                anchor_below(item, part, key, problems);
                key.pop();
            }
        }
        Value::Table(fields) => {
            for (name, field) in fields {
                if let Some(part) = part.child(name) {
                    key.push(name.clone());
                    anchor_below(field, part, key, problems);
                    key.pop();
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

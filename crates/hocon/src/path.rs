//! Paths of keys.

/// Returns a path as HOCON writes it: `job.labels."a.b"`.
pub(crate) fn dotted(path: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let elements: Vec<String> = path
        .iter()
        .map(|element| {
            let bare = !element.is_empty() && element.chars().all(plain);
            if bare { element.clone() } else { format!("{element:?}") }
        })
        .collect();
    elements.join(".")
}

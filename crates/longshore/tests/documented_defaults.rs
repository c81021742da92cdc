//! Checks that what the documents say about a default is the default.
#![cfg(all(feature = "kubernetes", feature = "docker", feature = "process"))]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use longshore::Config;
use longshore::config::Loader;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the default of each key, as the documents write it.
fn defaults() -> BTreeMap<String, String> {
    let loaded = Loader::<Config>::new().load().expect("the defaults are valid");
    let text = |value: &serde_json::Value| value.to_string().replace('"', "").replace(',', ", ");
    loaded
        .settings()
        .expect("the settings")
        .iter()
        .map(|it| (it.key.clone(), text(&it.value)))
        .collect()
}

/// Returns each statement of `document` about a default, as key and value: `` `job.key` (5m) ``,
/// `` `job.key` (default `x`) ``, and `` default of `job.key` is `x` ``.
fn statements(document: &str) -> Vec<(String, String)> {
    let words = document.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for (at, _) in words.match_indices("`job.") {
        let Some((key, rest)) = words[at + 1..].split_once('`') else { continue };
        let value = if words[..at].ends_with("default of ") {
            rest.strip_prefix(" is `").and_then(|rest| rest.split('`').next())
        } else {
            let inner = rest.strip_prefix(" (").and_then(|rest| rest.split(')').next());
            inner.map(|it| it.strip_prefix("default ").unwrap_or(it).trim_matches('`'))
        };
        // Other words in parentheses are no value.
        let value = value.filter(|it| it.starts_with('[') || !it.contains(' '));
        found.extend(value.map(|value| (key.to_owned(), value.to_owned())));
    }
    found
}

#[test]
fn what_the_documents_say_about_a_default_is_the_default() {
    let defaults = defaults();
    let folder = std::fs::read_dir(root().join("docs")).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "md"));
    files.push(root().join("README.md"));
    let mut checked = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (key, value) in statements(&text) {
            assert_eq!(defaults.get(&key), Some(&value), "{key} in {}", file.display());
            checked += 1;
        }
    }
    assert!(checked >= 4, "only {checked} statements are recognised");
}

#[test]
fn a_statement_about_a_default_is_recognised() {
    let text = "until `job.pullTimeout` (10m), the default of `job.fallbackOn` is\n`[a, b]`. With \
                `job.x` (default `Y`), and `job.z` (at least a minute).";
    let found = statements(text);
    let expected = [("job.pullTimeout", "10m"), ("job.fallbackOn", "[a, b]"), ("job.x", "Y")];
    assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

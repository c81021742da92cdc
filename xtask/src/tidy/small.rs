//! The number of crates that the library needs without its features.

use std::collections::BTreeSet;

use anyhow::Result;
use longshore_lab::shell;

use super::finding::Finding;
use crate::workspace::cargo;

/// The library and all its dependencies, procedural macros included.
const FEWER_THAN: usize = 60;
const MANIFEST: &str = "crates/longshore/Cargo.toml";

pub(crate) fn small() -> Result<Vec<Finding>> {
    // It needs the network only if a manifest was never downloaded.
    let tree = ask(&["--offline"]).or_else(|_| ask(&[]))?;
    Ok(too_many(&crates(&tree)).into_iter().collect())
}

fn ask(more: &[&str]) -> Result<String> {
    let mut command = cargo();
    command
        .args(["tree", "--package", "longshore", "--no-default-features", "--locked"])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(more);
    shell::capture(&mut command)
}

/// Returns each crate of a tree once, with its version.
fn crates(tree: &str) -> BTreeSet<String> {
    let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    tree.lines().map(words).filter(|krate| !krate.is_empty()).collect()
}

fn too_many(crates: &BTreeSet<String>) -> Option<Finding> {
    let many = crates.len();
    let what = format!("without features, the library needs {many} crates, not < {FEWER_THAN}");
    let instead = "put what brings the new crate behind a feature, or do without it";
    (many >= FEWER_THAN).then(|| Finding::new(MANIFEST, 1, what, instead))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_counts_once_for_each_version() {
        let tree = "longshore v0.1.0 (/src)\nsyn v2.0.1\nsyn v3.0.1\nsyn v2.0.1 (*)\n\
                    serde_derive v1.0.2 (proc-macro)\n";
        assert_eq!(crates(tree).len(), 4);
    }

    #[test]
    fn one_crate_too_many_is_found() {
        let numbered = |count: usize| (0..count).map(|number| format!("a v{number}")).collect();
        assert_eq!(too_many(&numbered(FEWER_THAN - 1)), None);
        assert!(too_many(&numbered(FEWER_THAN)).is_some());
    }
}

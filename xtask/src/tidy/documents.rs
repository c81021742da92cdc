//! The documents that must exist, and the crates that the architecture must name.

use super::finding::Finding;
use super::tree::Tree;
use crate::codegen;
use crate::workspace::{Package, Workspace};

const ARCHITECTURE: &str = "docs/architecture.md";

/// The section of the architecture that says which files a change needs.
const CHANGES: &str = "## To change X, touch Y";

const DOCUMENTS: [(&str, &str); 8] = [
    ("README.md", "say what Longshore is, with a first command"),
    ("CONTRIBUTING.md", "say how to build, test and change it"),
    ("CHANGELOG.md", "say what changed"),
    ("LICENSE", "add the text of the Apache licence, version 2.0"),
    ("SECURITY.md", "say what a vulnerability is and how to report one"),
    ("RELEASING.md", "say how to make a release"),
    (ARCHITECTURE, "say how it is built and why"),
    ("docs/adding-a-runner.md", "say how to add a runner"),
];

pub(crate) fn documents(workspace: &Workspace, tree: &Tree) -> Vec<Finding> {
    let missing = |path: &str, instead: &str| {
        (!tree.has(path)).then(|| Finding::new(path, 1, "missing", instead))
    };
    let mut found: Vec<_> =
        DOCUMENTS.iter().filter_map(|(path, instead)| missing(path, instead)).collect();
    found.extend(codegen::FILES.iter().filter_map(|path| missing(path, "run cargo xtask codegen")));
    if let Some(text) = tree.text(ARCHITECTURE) {
        found.extend(unlisted(workspace, text));
        found.extend(without_entry(workspace, text));
    }
    found
}

/// Finds the crates that the architecture does not name, by package or by folder.
fn unlisted(workspace: &Workspace, text: &str) -> Vec<Finding> {
    let named = |word: &str| {
        text.split(|it: char| !it.is_alphanumeric() && !"-_/".contains(it))
            .any(|part| part.trim_end_matches('/') == word)
    };
    workspace
        .packages
        .iter()
        .filter(|package| !named(&package.name) && !named(&workspace.folder(package)))
        .map(|package| {
            let what = format!("the crate {} is not named", package.name);
            Finding::new(ARCHITECTURE, 1, what, "say what it is for and what it may know")
        })
        .collect()
}

/// Finds the crates of which the last section names no file. That a named file
/// exists is a rule of the links.
fn without_entry(workspace: &Workspace, text: &str) -> Vec<Finding> {
    let section = text.split_once(CHANGES).map_or("", |(_, section)| section);
    let named = |package: &&Package| {
        let folder = format!("{}/src/", workspace.folder(package));
        let entry = |line: &str| {
            let cells: Vec<&str> =
                line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            matches!(cells[..], ["", name, file, ..] if name == package.name && file.starts_with(&folder))
        };
        section.lines().any(entry)
    };
    let missing = workspace.packages.iter().filter(|package| !named(package));
    missing
        .map(|package| {
            let what = format!("{CHANGES:?} names no file to begin with in {}", package.name);
            Finding::new(ARCHITECTURE, 1, what, "add a row to its last table")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::workspace;

    #[test]
    fn a_missing_document_is_found() {
        let found = documents(&workspace(&[]), &Tree::of(&[("README.md", "")]));
        let paths: Vec<_> = found.iter().map(|finding| finding.path.as_str()).collect();
        assert!(paths.contains(&ARCHITECTURE) && !paths.contains(&"README.md"), "{paths:?}");
        assert!(paths.contains(&"conf/longshore.toml"), "{paths:?}");
    }

    #[test]
    fn a_crate_that_the_architecture_does_not_name_is_found() {
        let workspace = workspace(&[
            ("longshore", "crates/longshore", &[]),
            ("longshore-core", "crates/core", &[]),
            ("longshore-docker", "crates/docker", &[]),
        ]);
        let found = unlisted(&workspace, "`longshore-core`; see crates/docker/.");
        let what: Vec<_> = found.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(what, ["the crate longshore is not named"]);
    }

    #[test]
    fn a_crate_without_a_file_to_begin_with_is_found() {
        let workspace = workspace(&[
            ("longshore-core", "crates/core", &[]),
            ("longshore-docker", "crates/docker", &[]),
            ("xtask", "xtask", &[]),
        ]);
        let text = format!(
            "| `xtask` | `xtask/src/cli.rs` | x |\n{CHANGES}\n\
             | `longshore-core` | `crates/core/src/job.rs` | x |\n\
             | `longshore-docker` | `crates/core/src/job.rs` | x |\n"
        );
        let found = without_entry(&workspace, &text);
        let what: Vec<_> = found.iter().map(|finding| finding.what.as_str()).collect();
        let expected = ["longshore-docker", "xtask"]
            .map(|name| format!("{CHANGES:?} names no file to begin with in {name}"));
        assert_eq!(what, expected);
    }
}

//! The documents that must exist, and the crates that the architecture must name.

use super::finding::Finding;
use super::tree::Tree;
use crate::codegen;
use crate::workspace::Workspace;

const ARCHITECTURE: &str = "docs/architecture.md";

const DOCUMENTS: [(&str, &str); 6] = [
    ("README.md", "say what Longshore is, with a first command"),
    ("CONTRIBUTING.md", "say how to build, test and change it"),
    ("CHANGELOG.md", "say what changed"),
    ("LICENSE", "add the text of the Apache licence, version 2.0"),
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
}

//! Every backend has the same files, so that if you know one you know them all.

use super::finding::Finding;
use super::tree::Tree;
use crate::workspace::Workspace;

const FILES: [(&str, &str); 6] = [
    ("src/lib.rs", "its docs and what it exports"),
    ("src/config.rs", "its own Config type"),
    ("src/runner.rs", "the Runner trait, thin"),
    ("src/translate.rs", "the translation of a JobSpec to what is submitted, without I/O"),
    ("src/outcome.rs", "the translation of the backend's state to an Outcome, without I/O"),
    ("tests/conformance.rs", "the call of the conformance suite"),
];

pub(crate) fn backends(workspace: &Workspace, tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for package in workspace.backends() {
        for (file, holds) in FILES {
            let path = format!("{}/{file}", workspace.folder(package));
            if !tree.has(&path) {
                found.push(Finding::new(path, 1, "missing", format!("give it {holds}")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::workspace;

    #[test]
    fn a_missing_file_of_a_backend_is_found_and_others_need_none() {
        let workspace = workspace(&[
            ("longshore-ssh", "crates/ssh", &[]),
            ("longshore-core", "crates/core", &[]),
        ]);
        let names = ["lib", "config", "runner", "translate"];
        let files = names.map(|name| format!("crates/ssh/src/{name}.rs"));
        let mut files: Vec<_> = files.iter().map(|name| (name.as_str(), "")).collect();
        files.push(("crates/ssh/tests/conformance.rs", ""));
        let found = backends(&workspace, &Tree::of(&files));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "crates/ssh/src/outcome.rs");
    }
}

//! Checks the order in which `RELEASING.md` publishes the crates.

use std::collections::BTreeMap;

use super::finding::Finding;
use super::tree::Tree;
use crate::markdown;
use crate::workspace::{Package, Workspace};

const FILE: &str = "RELEASING.md";

pub(crate) fn release(workspace: &Workspace, tree: &Tree) -> Vec<Finding> {
    // That the file exists is a rule of the documents.
    let Some(text) = tree.text(FILE) else { return Vec::new() };
    let mut found = Vec::new();
    let mut done = BTreeMap::new();
    for (line, name) in published(text) {
        let mut find = |what, instead| found.push(Finding::new(FILE, line, what, instead));
        let package = workspace.packages.iter().find(|package| package.name == name);
        let Some(package) = package.filter(|package| package.is_published()) else {
            find(format!("{name} is no crate that is published"), "remove it");
            continue;
        };
        if let Some(first) = done.insert(name.clone(), line) {
            find(format!("{name} is already published in line {first}"), "remove it");
        }
        for other in needs(workspace, package).filter(|it| !done.contains_key(&it.name)) {
            let what = format!("{name} is published before {}, which it depends on", other.name);
            find(what, "move it down");
        }
    }
    let missing = workspace.packages.iter().filter(|it| it.is_published());
    found.extend(missing.filter(|it| !done.contains_key(&it.name)).map(|package| {
        let what = format!("{} is never published", package.name);
        Finding::new(FILE, 1, what, "add its cargo publish, after those of its dependencies")
    }));
    found
}

/// Returns the crates that `cargo publish` commands name, with their lines.
fn published(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for command in markdown::commands(text) {
        for words in markdown::simple_commands(&command.text).unwrap_or_default() {
            if !matches!(&words[..], [cargo, publish, ..] if cargo == "cargo" && publish == "publish")
            {
                continue;
            }
            let named = words.windows(2).filter(|pair| ["-p", "--package"].contains(&&*pair[0]));
            found.extend(named.map(|pair| (command.line, pair[1].clone())));
        }
    }
    found
}

/// Returns the crates that must be in the registry before `package`, also for its tests.
fn needs<'a>(workspace: &'a Workspace, package: &'a Package) -> impl Iterator<Item = &'a Package> {
    package.dependencies.iter().filter_map(|dependency| workspace.ours(dependency))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::workspace;

    /// Returns the findings if `names` are published in this order.
    fn found(names: &[&str]) -> Vec<(usize, String)> {
        let mut workspace = workspace(&[
            ("core", "crates/core", &["serde"]),
            ("suite", "crates/suite", &["core"]),
            ("docker", "crates/docker", &["core", "dev:suite"]),
            ("xtask", "xtask", &[]),
        ]);
        workspace.packages[3].publish = Some(Vec::new());
        let lines: String = names.iter().map(|name| format!("cargo publish -p {name}\n")).collect();
        let text = format!("# Releasing\n```sh\n{lines}```\n");
        let found = release(&workspace, &Tree::of(&[(FILE, &text)]));
        found.into_iter().map(|it| (it.line, it.what)).collect()
    }

    #[test]
    fn a_crate_before_one_that_it_depends_on_is_found() {
        assert_eq!(found(&["core", "suite", "docker"]), []);
        let what = "docker is published before suite, which it depends on";
        assert_eq!(found(&["core", "docker", "suite"]), [(4, what.to_owned())]);
    }

    #[test]
    fn a_crate_that_is_left_out_or_has_no_place_there_is_found() {
        let found = found(&["core", "core", "suite", "xtask"]);
        let expected = [
            (4, "core is already published in line 3"),
            (6, "xtask is no crate that is published"),
            (1, "docker is never published"),
        ];
        let found: Vec<_> = found.iter().map(|(line, what)| (*line, what.as_str())).collect();
        assert_eq!(found, expected);
    }
}

//! Checks that each crate can be published, or says that it is not.

use super::finding::Finding;
use super::tree::Tree;
use crate::workspace::{Package, Workspace};

pub(crate) fn packages(workspace: &Workspace, tree: &Tree) -> Vec<Finding> {
    let published = workspace.packages.iter().filter(|package| package.is_published());
    published
        .flat_map(|package| {
            problems(workspace, package).into_iter().chain(no_licence(workspace, tree, package))
        })
        .collect()
}

/// A package contains only files of its own folder, and must contain its licence.
fn no_licence(workspace: &Workspace, tree: &Tree, package: &Package) -> Option<Finding> {
    let path = format!("{}/LICENSE", workspace.folder(package));
    let missing = !tree.has(&path);
    missing.then(|| Finding::new(path, 1, "missing", "link it to the repository's LICENSE"))
}

fn problems(workspace: &Workspace, package: &Package) -> Vec<Finding> {
    let manifest = format!("{}/Cargo.toml", workspace.folder(package));
    let find = |what, instead: &str| Finding::new(&*manifest, 1, what, instead);
    let keys = [
        ("description", package.description.is_some()),
        ("license", package.license.is_some()),
        ("repository", package.repository.is_some()),
        ("readme", package.readme.is_some()),
    ];
    let missing = keys.into_iter().filter(|(_, present)| !present);
    let mut found: Vec<_> = missing
        .map(|(key, _)| {
            let instead = "add the key, or publish = false";
            find(format!("{} has no {key}", package.name), instead)
        })
        .collect();
    for dependency in &package.dependencies {
        let Some(other) = workspace.ours(dependency) else { continue };
        // For the tests, which then have every feature. It is not published.
        if other.name == package.name {
            continue;
        }
        let what = format!("{} depends on {}", package.name, other.name);
        if !other.is_published() {
            found.push(find(format!("{what}, which is not published"), "publish both, or neither"));
        } else if dependency.req == "*" {
            let instead = "give it a version in the workspace's Cargo.toml";
            found.push(find(format!("{what} without a version"), instead));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::workspace;

    fn what(workspace: &Workspace) -> Vec<String> {
        let paths: Vec<_> = workspace
            .packages
            .iter()
            .map(|package| format!("{}/LICENSE", workspace.folder(package)))
            .collect();
        let files: Vec<_> = paths.iter().map(|path| (path.as_str(), "")).collect();
        packages(workspace, &Tree::of(&files)).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_published_crate_without_what_the_registry_asks_for_is_found() {
        let mut workspace = workspace(&[("longshore-core", "crates/core", &[])]);
        assert_eq!(what(&workspace), [""; 0]);
        workspace.packages[0].description = None;
        workspace.packages[0].readme = None;
        let expected = ["longshore-core has no description", "longshore-core has no readme"];
        assert_eq!(what(&workspace), expected);
        workspace.packages[0].publish = Some(Vec::new());
        assert_eq!(what(&workspace), [""; 0]);
    }

    #[test]
    fn a_dependency_that_could_not_be_published_is_found() {
        let mut workspace = workspace(&[
            ("longshore-core", "crates/core", &[]),
            ("xtask", "xtask", &[]),
            ("longshore-cli", "crates/cli", &["longshore-core", "dev:xtask", "serde"]),
        ]);
        workspace.packages[1].publish = Some(Vec::new());
        workspace.packages[2].dependencies[0].req = "*".to_owned();
        let expected = [
            "longshore-cli depends on longshore-core without a version",
            "longshore-cli depends on xtask, which is not published",
        ];
        assert_eq!(what(&workspace), expected);
    }

    #[test]
    fn a_package_that_would_not_contain_its_licence_is_found() {
        let workspace = workspace(&[("longshore-core", "crates/core", &[])]);
        let found = packages(&workspace, &Tree::of(&[("LICENSE", "")]));
        let paths: Vec<_> = found.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(paths, ["crates/core/LICENSE"]);
    }
}

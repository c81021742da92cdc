//! Checks that the images with a Rust toolchain have the version that the workspace requires.

use super::finding::Finding;
use super::tree::Tree;
use crate::workspace::Workspace;

/// The name of Rust's official image, up to its tag.
const IMAGE: &str = "library/rust:";

pub(crate) fn toolchain(workspace: &Workspace, tree: &Tree) -> Vec<Finding> {
    let required = workspace.packages.iter().find_map(|package| package.rust_version.as_deref());
    let Some(required) = required else {
        let instead = "set rust-version under [workspace.package]";
        return vec![Finding::new("Cargo.toml", 1, "no required version of Rust", instead)];
    };
    let mut found = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| is_build(path)) {
        for (number, line) in (1..).zip(text.lines()) {
            for version in versions(line).filter(|version| *version != required) {
                let what = format!("Rust {version}, but Cargo.toml requires {required}");
                found.push(Finding::new(path, number, what, "use the same version"));
            }
        }
    }
    found
}

/// Returns whether the file chooses an image to build with.
fn is_build(path: &str) -> bool {
    path == "Dockerfile" || path.starts_with(".github/workflows/")
}

/// Returns the versions in the tags of Rust's images: `1.95` in `rust:1.95-bookworm`.
fn versions(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices(IMAGE).map(|(at, image)| {
        let tag = &line[at + image.len()..];
        let end = tag.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(tag.len());
        &tag[..end]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::workspace;

    #[test]
    fn an_image_with_another_rust_than_the_workspace_requires_is_found() {
        let workspace = workspace(&[("longshore-core", "crates/core", &[])]);
        let tree = Tree::of(&[
            (
                "Dockerfile",
                "ARG B=docker.io/library/rust:1.95-slim\n# x.example/library/rust:1.94\n",
            ),
            (".github/workflows/ci.yml", "image: docker.io/library/rust:latest\n"),
            ("docs/a.md", "docker.io/library/rust:1.2"),
        ]);
        let found = toolchain(&workspace, &tree);
        let found: Vec<_> = found.iter().map(|it| (it.path.as_str(), it.line)).collect();
        assert_eq!(found, [(".github/workflows/ci.yml", 1), ("Dockerfile", 2)]);
    }
}

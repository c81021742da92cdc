//! The licences and the sources of all dependencies, compared with `deny.toml`.
//!
//! This covers the sections of cargo-deny's configuration that need nothing but
//! `cargo metadata`, so that every change is checked without installing it.

use std::path::PathBuf;

use anyhow::{Context, Result};
use longshore_lab::shell;
use serde::Deserialize;

use super::deny::{self, Deny};
use super::finding::Finding;
use super::licence::Expression;
use super::tree::Tree;
use crate::workspace::cargo;

const LOCK: &str = "Cargo.lock";

/// Every package that a build uses, from `cargo metadata`.
#[derive(Debug, Clone, Deserialize)]
struct Graph {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// `registry+URL`, `git+URL`, or `None` for a path.
    source: Option<String>,
    manifest_path: PathBuf,
}

pub(crate) fn dependencies(tree: &Tree) -> Result<Vec<Finding>> {
    let Some(text) = tree.text(deny::FILE) else {
        let instead = "list the licences and the sources that are allowed";
        return Ok(vec![Finding::new(deny::FILE, 1, "missing", instead)]);
    };
    let deny = match Deny::parse(text) {
        Ok(deny) => deny,
        Err(finding) => return Ok(vec![finding]),
    };
    let lock = tree.text(LOCK).unwrap_or_default();
    Ok(violations(&Graph::load(&deny)?, &deny, text, lock))
}

impl Graph {
    /// Asks cargo. It needs the network only if a manifest was never downloaded.
    fn load(deny: &Deny) -> Result<Self> {
        Self::ask(deny, &["--offline"]).or_else(|_| Self::ask(deny, &[]))
    }

    fn ask(deny: &Deny, more: &[&str]) -> Result<Self> {
        let mut command = cargo();
        command.args(["metadata", "--format-version", "1", "--locked", "--all-features"]);
        for target in &deny.graph.targets {
            command.args(["--filter-platform", target]);
        }
        command.args(more);
        let text = shell::capture(&mut command)?;
        serde_json::from_str(&text).context("failed to understand cargo metadata")
    }
}

fn violations(graph: &Graph, deny: &Deny, deny_text: &str, lock: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut expressions = Vec::new();
    for package in &graph.packages {
        let mut find = |what: String, instead: &str| {
            let what = format!("{} {} {what}", package.name, package.version);
            found.push(Finding::new(LOCK, line_of(lock, package), what, instead));
        };
        match licence(package) {
            Err(problem) => find(problem, "use another crate"),
            Ok(expression) => {
                if !expression.is_met(&deny.licenses.allow) {
                    let what = format!(
                        "has the licence {}, which deny.toml does not allow",
                        package.license.as_deref().unwrap_or_default()
                    );
                    find(what, "use another crate, or have the licence reviewed and allow it");
                }
                expressions.push(expression);
            }
        }
        if let Some(source) = foreign(graph, deny, package) {
            let what = format!("comes from {source}, which deny.toml does not allow");
            find(what, "use a release from the registry");
        }
    }
    let unused = |licence: &&String| !expressions.iter().any(|it| it.names(licence));
    found.extend(deny.licenses.allow.iter().filter(unused).map(|licence| {
        let what = format!("the licence {licence} is allowed, but no dependency has it");
        Finding::new(deny::FILE, deny::line_of(deny_text, licence), what, "remove it")
    }));
    found
}

fn licence(package: &Package) -> Result<Expression, String> {
    let text = package.license.as_deref().ok_or("has no licence expression")?;
    Expression::parse(text)
        .map_err(|problem| format!("has the licence {text:?}, which is no expression: {problem}"))
}

/// Returns the source of a package that is not from an allowed registry or
/// repository, nor from this workspace.
fn foreign(graph: &Graph, deny: &Deny, package: &Package) -> Option<String> {
    let Some(source) = &package.source else {
        let inside = package.manifest_path.starts_with(&graph.workspace_root);
        return (!inside).then(|| "a folder outside the workspace".to_owned());
    };
    let bare = |text: &str| text.split(['?', '#']).next().unwrap_or_default().to_owned();
    let allowed = match source.split_once('+') {
        Some(("registry", url)) => deny.sources.allow_registry.iter().any(|it| it == url),
        // cargo-deny lists the sparse form with its prefix.
        Some(("sparse", _)) => deny.sources.allow_registry.contains(source),
        Some(("git", url)) => deny.sources.allow_git.contains(&bare(url)),
        _ => false,
    };
    (!allowed).then(|| source.clone())
}

/// Returns the line of the package in the lock file; 1 if it is not there.
fn line_of(lock: &str, package: &Package) -> usize {
    let name = format!("name = \"{}\"", package.name);
    let version = format!("version = \"{}\"", package.version);
    let lines: Vec<&str> = lock.lines().collect();
    lines
        .windows(2)
        .position(|pair| pair == [name.as_str(), version.as_str()])
        .map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
    const DENY: &str = "[licenses]\nallow = [\n  \"MIT\",\n  \"ISC\",\n]\n[sources]\n\
        allow-registry = [\"https://github.com/rust-lang/crates.io-index\"]\n\
        allow-git = [\"https://git.example/good\"]\n";

    /// Returns the findings about `a`, MIT, and `b` 2.0.0 with this licence and source.
    fn found(license: Option<&str>, source: Option<&str>, path: &str) -> Vec<(usize, String)> {
        let package =
            |name: &str, license: Option<&str>, source: Option<&str>, path: &str| Package {
                name: name.into(),
                version: "2.0.0".into(),
                license: license.map(str::to_owned),
                source: source.map(str::to_owned),
                manifest_path: path.into(),
            };
        let graph = Graph {
            packages: vec![
                package("a", Some("MIT AND ISC"), Some(CRATES_IO), "/cache/a/Cargo.toml"),
                package("b", license, source, path),
            ],
            workspace_root: "/src".into(),
        };
        let lock = "[[package]]\nname = \"b\"\nversion = \"1.0.0\"\n[[package]]\nname = \"b\"\nversion = \"2.0.0\"\n";
        let found = violations(&graph, &Deny::parse(DENY).unwrap(), DENY, lock);
        found.into_iter().map(|it| (it.line, it.what)).collect()
    }

    #[test]
    fn a_licence_that_is_not_allowed_is_found_at_its_line_of_the_lock_file() {
        let gpl = found(Some("GPL-3.0-only"), Some(CRATES_IO), "/cache/b/Cargo.toml");
        let what = "b 2.0.0 has the licence GPL-3.0-only, which deny.toml does not allow";
        assert_eq!(gpl, [(5, what.to_owned())]);
        assert_eq!(found(Some("GPL-3.0-only OR MIT"), Some(CRATES_IO), "/cache/b/Cargo.toml"), []);
    }

    #[test]
    fn a_licence_that_is_missing_or_no_expression_is_not_taken_for_an_allowed_one() {
        let missing = found(None, Some(CRATES_IO), "/cache/b/Cargo.toml");
        assert_eq!(missing, [(5, "b 2.0.0 has no licence expression".to_owned())]);
        let wrong = found(Some("MIT or so"), Some(CRATES_IO), "/cache/b/Cargo.toml");
        assert!(wrong[0].1.contains("is no expression"), "{wrong:?}");
    }

    #[test]
    fn a_source_other_than_the_registry_is_found() {
        for (source, path, allowed) in [
            (Some(CRATES_IO), "/cache/b/Cargo.toml", true),
            (Some("registry+https://other.example/index"), "/cache/b/Cargo.toml", false),
            (Some("sparse+https://other.example/index/"), "/cache/b/Cargo.toml", false),
            (Some("git+https://git.example/good?rev=1#1234"), "/cache/b/Cargo.toml", true),
            (Some("git+https://git.example/other#1234"), "/cache/b/Cargo.toml", false),
            (None, "/src/crates/b/Cargo.toml", true),
            (None, "/elsewhere/b/Cargo.toml", false),
        ] {
            let found = found(Some("MIT"), source, path);
            assert_eq!(found.is_empty(), allowed, "{source:?} {path}: {found:?}");
        }
    }

    #[test]
    fn an_allowed_licence_that_nothing_has_is_found_at_its_line() {
        let graph = Graph { packages: Vec::new(), workspace_root: "/src".into() };
        let found = violations(&graph, &Deny::parse(DENY).unwrap(), DENY, "");
        let lines: Vec<_> = found.iter().map(|it| (it.path.as_str(), it.line)).collect();
        assert_eq!(lines, [("deny.toml", 3), ("deny.toml", 4)]);
    }
}

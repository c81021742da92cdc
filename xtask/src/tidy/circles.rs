//! Circles of files that import each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, Result};

use super::allowed_circles::ALLOWED;
use super::finding::Finding;
use super::references::{ModulePath, References};
use super::tree::Tree;
use crate::workspace::Workspace;

/// Finds files of one crate that import each other in a circle. To understand one file of a circle,
/// a reader must know all of them.
///
/// An import of a name that a `lib.rs` or `mod.rs` exports counts as an import of the file that has
/// the name. The `lib.rs` and `mod.rs` themselves do not count, because they only list and export.
pub(crate) fn circles(workspace: &Workspace, tree: &Tree) -> Result<Vec<Finding>> {
    circles_except(ALLOWED, workspace, tree)
}

/// Like [`circles`], with the circles that are allowed.
fn circles_except(
    allowed: &[(&[&str], &str)],
    workspace: &Workspace,
    tree: &Tree,
) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let mut unused: BTreeSet<_> = allowed.iter().map(|(files, _)| *files).collect();
    for package in &workspace.packages {
        let files = Files::read(tree, &format!("{}/src/", workspace.folder(package)))?;
        let graph = files.graph();
        for circle in components(&graph) {
            let entry = allowed.iter().find(|(files, _)| circle.iter().eq(files.iter()));
            if let Some((files, _)) = entry {
                unused.remove(files);
                continue;
            }
            let way = way_around(&graph, circle[0]).join(" -> ");
            let files = circle.join(", ");
            let what = format!("files import each other in a circle: {way} (all of it: {files})");
            let instead =
                "move what both need to a file of its own, or what one needs to the other";
            found.push(Finding::new(circle[0], 1, what, instead));
        }
    }
    for files in unused {
        let what = format!("an allowed circle that does not exist: {}", files.join(", "));
        found.push(Finding::new(
            "xtask/src/tidy/allowed_circles.rs",
            1,
            what,
            "remove it from the list",
        ));
    }
    Ok(found)
}

/// The files of a crate by their module.
struct Files<'a>(BTreeMap<ModulePath, (&'a str, References)>);

type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

impl<'a> Files<'a> {
    fn read(tree: &'a Tree, source: &str) -> Result<Self> {
        let mut files = BTreeMap::new();
        for (path, text) in tree.with_extension("rs") {
            let Some(name) = path.strip_prefix(source) else { continue };
            let module = module(name);
            let references = References::read(&module, text)
                .with_context(|| format!("failed to read {path}"))?;
            files.insert(module, (path, references));
        }
        Ok(Self(files))
    }

    /// Returns which file imports which.
    fn graph(&self) -> Graph<'a> {
        let nodes = self.0.values().filter(|(path, _)| !is_index(path));
        let mut graph = Graph::new();
        for (path, references) in nodes {
            let targets = references.paths.iter().filter_map(|target| self.file_of(target, 0));
            let others = targets.filter(|other| other != path && !is_index(other));
            graph.insert(*path, others.collect());
        }
        graph
    }

    /// Returns the file that has what `path` names. Follows exports, at most so many that they
    /// cannot be a circle.
    fn file_of(&self, path: &[String], followed: usize) -> Option<&'a str> {
        let prefixes = (0..=path.len()).rev();
        let (length, (file, references)) =
            prefixes.filter_map(|n| Some((n, self.0.get(&path[..n])?))).next()?;
        let export = path.get(length).and_then(|name| references.imports.get(name));
        match export {
            Some(export) if followed < self.0.len() => {
                let rest = &path[length + 1..];
                self.file_of(&[export, rest].concat(), followed + 1)
            }
            _ => Some(file),
        }
    }
}

fn module(name: &str) -> ModulePath {
    let name = name.strip_suffix(".rs").unwrap_or(name);
    let mut module: Vec<_> = name.split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("lib" | "main" | "mod")) {
        module.pop();
    }
    module
}

fn is_index(path: &str) -> bool {
    ["/lib.rs", "/main.rs", "/mod.rs"].iter().any(|name| path.ends_with(name))
}

/// Returns the sets of more than one file in which each file reaches each other.
fn components<'a>(graph: &Graph<'a>) -> Vec<Vec<&'a str>> {
    let reached: BTreeMap<_, _> = graph.keys().map(|file| (*file, reach(graph, file))).collect();
    let is_in_circle = |one: &str, other: &str| {
        reached[one].contains_key(other) && reached[other].contains_key(one)
    };
    let mut components = Vec::new();
    let mut done = BTreeSet::new();
    for file in graph.keys() {
        let circle: Vec<_> =
            graph.keys().copied().filter(|other| is_in_circle(file, other)).collect();
        if circle.len() > 1 && done.insert(circle[0]) {
            components.push(circle);
        }
    }
    components
}

/// Returns the files that `from` reaches by at least one import, and for each the file before it on
/// a shortest way.
fn reach<'a>(graph: &Graph<'a>, from: &'a str) -> BTreeMap<&'a str, &'a str> {
    let mut before = BTreeMap::new();
    let mut open = VecDeque::from([from]);
    while let Some(file) = open.pop_front() {
        for next in graph.get(file).into_iter().flatten() {
            if !before.contains_key(next) {
                before.insert(*next, file);
                open.push_back(next);
            }
        }
    }
    before
}

/// Returns the files of a shortest circle through `file`, which is both the first and the last.
fn way_around<'a>(graph: &Graph<'a>, file: &'a str) -> Vec<&'a str> {
    let before = reach(graph, file);
    let mut way = vec![file];
    while let Some(previous) = way.last().and_then(|last| before.get(last)) {
        way.push(previous);
        if *previous == file {
            break;
        }
    }
    way.reverse();
    way
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::workspace;

    fn found_except(allowed: &[(&[&str], &str)], files: &[(&str, &str)]) -> Vec<String> {
        let workspace = workspace(&[("longshore-core", "crates/core", &[])]);
        let files: Vec<_> =
            files.iter().map(|(name, text)| (format!("crates/core/src/{name}"), *text)).collect();
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        let found = circles_except(allowed, &workspace, &Tree::of(&files)).unwrap();
        found.into_iter().map(|finding| finding.what.replace("crates/core/src/", "")).collect()
    }

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        found_except(&[], files)
    }

    fn circle(way: &str, all: &str) -> String {
        format!("files import each other in a circle: {way} (all of it: {all})")
    }

    #[test]
    fn files_that_import_each_other_are_found_with_the_way_around() {
        let files = [
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "fn f() { super::c::g() }"),
            ("c.rs", "use crate::{a, d::D};"),
            ("d.rs", "use crate::e::E;"),
            ("e.rs", "use std::fmt;"),
        ];
        assert_eq!(found(&files), [circle("a.rs -> b.rs -> c.rs -> a.rs", "a.rs, b.rs, c.rs")]);
    }

    #[test]
    fn an_import_through_an_index_leads_to_the_file_that_has_the_name() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("a.rs", "use crate::B;"),
            ("b/mod.rs", "mod inner; pub(crate) use inner::B;"),
            ("b/inner.rs", "use crate::A;"),
        ];
        assert_eq!(found(&files), [circle("a.rs -> b/inner.rs -> a.rs", "a.rs, b/inner.rs")]);
    }

    #[test]
    fn a_file_and_its_own_child_can_be_a_circle() {
        let files = [("a.rs", "mod b; fn f() { b::g() }"), ("a/b.rs", "use super::A;")];
        assert_eq!(found(&files), [circle("a.rs -> a/b.rs -> a.rs", "a.rs, a/b.rs")]);
    }

    #[test]
    fn one_way_and_tests_are_left_alone() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "struct B;\n#[cfg(test)]\nmod tests { use crate::a::A; }"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }

    #[test]
    fn an_allowed_circle_is_left_alone_and_found_once_it_is_gone() {
        let files = [("a.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")];
        let allowed: &[(&[&str], &str)] =
            &[(&["crates/core/src/a.rs", "crates/core/src/b.rs"], "a reason")];
        assert_eq!(found_except(allowed, &files), [""; 0]);
        let gone = "an allowed circle that does not exist: a.rs, b.rs";
        assert_eq!(found_except(allowed, &files[..1]), [gone]);
    }
}

//! Checks that the links of documents, and the paths that they name in code, lead somewhere.

use std::path::{Component, Path};

use super::finding::Finding;
use super::tree::Tree;
use crate::markdown;

pub(crate) fn links(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.with_extension("md") {
        for (line, content) in markdown::split(text).1 {
            for target in targets(content) {
                if let Some(what) = broken(tree, path, &target) {
                    let instead = "correct the link, or create its target";
                    found.push(Finding::new(path, line, what, instead));
                }
            }
            for named in paths(tree, content).filter(|named| !tree.has(named)) {
                let what = format!("the path {named}, which does not exist");
                let instead = "write the path of a file from the repository's root";
                found.push(Finding::new(path, line, what, instead));
            }
        }
    }
    found
}

/// Returns the targets of the links of a line: `[text](target)` and `[text]: target`.
fn targets(line: &str) -> Vec<String> {
    let line = without_code(line);
    let mut found: Vec<String> = line
        .match_indices("](")
        .filter_map(|(at, mark)| {
            let rest = &line[at + mark.len()..];
            let end = rest.find([')', ' '])?;
            Some(rest[..end].to_owned())
        })
        .collect();
    let definition = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    found.extend(definition.and_then(|(_, target)| target.split(' ').next()).map(str::to_owned));
    found
}

/// Returns the line without the text between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// Returns the paths from the repository's root that a line names between
/// backticks: those that begin with one of its folders, and all other paths of
/// Rust files.
fn paths<'a>(tree: &Tree, line: &'a str) -> impl Iterator<Item = &'a str> {
    let plain = |it: char| it.is_ascii_alphanumeric() || "._-/".contains(it);
    line.split('`').skip(1).step_by(2).filter(move |span| {
        let first = span.split_once('/').map(|(first, _)| first);
        first.is_some_and(|first| !first.is_empty() && tree.has(first) || span.ends_with(".rs"))
            && span.chars().all(plain)
    })
}

fn broken(tree: &Tree, from: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") || target.is_empty() {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = match file {
        "" => from.to_owned(),
        _ => match resolve(from, file) {
            Some(path) if tree.has(&path) => path,
            _ => return Some(format!("a link to {file}, which does not exist")),
        },
    };
    let text = tree.text(&path).filter(|_| !anchor.is_empty() && path.ends_with(".md"))?;
    let known = headings(text).any(|heading| heading == anchor);
    (!known).then(|| format!("a link to #{anchor}, a heading that {path} does not have"))
}

/// Resolves `file` relative to the document `from`; `None` if the path leads out
/// of the repository.
fn resolve(from: &str, file: &str) -> Option<String> {
    let folder = Path::new(from).parent().unwrap_or(Path::new(""));
    let mut parts = Vec::new();
    for component in folder.join(file).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// Returns the anchors of the headings, as GitHub generates them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    markdown::split(text).1.into_iter().filter_map(|(_, line)| {
        let heading = line.trim_start_matches('#').strip_prefix(' ')?;
        line.starts_with('#').then(|| anchor(heading))
    })
}

fn anchor(heading: &str) -> String {
    let kept = |it: &char| it.is_alphanumeric() || matches!(it, '-' | '_' | ' ');
    heading.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let text = "[a](b.md) [c](../README.md)\n[d](#no-such)\n[e]: ../conf/x.toml\n";
        let tree = Tree::of(&[("docs/a.md", text), ("README.md", "")]);
        let found: Vec<_> = links(&tree).into_iter().map(|it| (it.line, it.what)).collect();
        assert_eq!(
            found,
            [
                (1, "a link to b.md, which does not exist".to_owned()),
                (2, "a link to #no-such, a heading that docs/a.md does not have".to_owned()),
                (3, "a link to ../conf/x.toml, which does not exist".to_owned()),
            ]
        );
    }

    #[test]
    fn a_path_in_code_that_leads_nowhere_is_found() {
        let text = "| a | `crates/core/src/job.rs`, `crates/core/src/jobs.rs` |\n\
                    | b | `crates/cor`; `crate/core/src/job.rs` |\n";
        let tree = Tree::of(&[("docs/a.md", text), ("crates/core/src/job.rs", "")]);
        let found: Vec<_> = links(&tree).into_iter().map(|it| (it.line, it.what)).collect();
        assert_eq!(
            found,
            [
                (1, "the path crates/core/src/jobs.rs, which does not exist".to_owned()),
                (2, "the path crates/cor, which does not exist".to_owned()),
                (2, "the path crate/core/src/job.rs, which does not exist".to_owned()),
            ]
        );
    }

    #[test]
    fn code_that_is_no_path_of_the_repository_is_left_alone() {
        let text = "`target/lab/run`, `/var/run/docker.sock`, `job.rs`, `input/`, \
                    `docker run crates/x`, `crates/NAME/{a,b}`, `team/x:1`\n";
        let tree = Tree::of(&[("docs/a.md", text), ("crates/core/src/job.rs", "")]);
        assert_eq!(links(&tree), []);
    }

    #[test]
    fn good_links_code_and_the_web_are_left_alone() {
        let text = "# One `two`, three\n[a](#one-two-three) [b](https://x.example/y) \
                    [f](../docs/)\n`[c](d)`\n```\n[e](f)\n```\n";
        assert_eq!(links(&Tree::of(&[("docs/a.md", text)])), []);
    }
}

//! The files of the repository.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use longshore_lab::shell;

/// The text files of the repository by their path from its root, and the names
/// of all files. New files that are not committed yet are included.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    texts: BTreeMap<String, String>,
    names: Vec<String>,
}

impl Tree {
    pub(crate) fn load(root: &Path) -> Result<Self> {
        let mut command = Command::new("git");
        command
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root);
        let listed = shell::capture(&mut command).context("failed to list the files")?;
        let mut tree = Self::default();
        for name in listed.split('\0').filter(|name| root.join(name).is_file()) {
            let bytes =
                fs::read(root.join(name)).with_context(|| format!("failed to read {name}"))?;
            // Only text has lines to check.
            if let Ok(text) = String::from_utf8(bytes) {
                tree.texts.insert(name.to_owned(), text);
            }
            tree.names.push(name.to_owned());
        }
        Ok(tree)
    }

    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    pub(crate) fn with_extension<'a>(
        &'a self,
        extension: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts()
            .filter(move |(name, _)| Path::new(name).extension().is_some_and(|it| it == extension))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// Returns whether a file or a folder with this path exists.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let below = |name: &String| {
            name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        path.is_empty() || self.names.iter().any(below)
    }
}

#[cfg(test)]
impl Tree {
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self {
            texts: files.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect(),
            names: files.iter().map(|(name, _)| (*name).into()).collect(),
        }
    }
}

/// Returns the lines of Rust code with their numbers, up to the tests at the
/// end of the file, without lines that are only a comment.
pub(crate) fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .take_while(|(_, line)| *line != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_there_if_a_file_is_in_it() {
        let tree = Tree::of(&[("docs/a.md", "")]);
        assert!(tree.has("docs") && tree.has("docs/") && tree.has("docs/a.md"));
        assert!(!tree.has("doc") && !tree.has("docs/a"));
    }

    #[test]
    fn comments_and_tests_are_no_code() {
        let found: Vec<_> = code_lines("a\n// b\n  /// c\nd\n#[cfg(test)]\ne\n").collect();
        assert_eq!(found, [(1, "a"), (4, "d")]);
    }

    #[test]
    fn the_repository_lists_this_very_file() {
        let tree = Tree::load(&longshore_lab::checkout()).unwrap();
        assert!(tree.text("xtask/src/tidy/tree.rs").is_some());
        assert!(!tree.has("target"));
    }
}

//! Checks that `docs/fallback.md` names only existing tests, and that its diagram and its table
//! agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// An arrow of the diagram and of the table.
type Arrow = (String, String);

#[test]
fn every_test_that_the_page_names_is_there() {
    let page = page();
    let files = files(&page);
    let named = named(&page);
    assert!(named.len() > 30, "only {named:?}");
    for (test, file) in named {
        let path = files.get(file).unwrap_or_else(|| panic!("the page has no [{file}]: …"));
        assert!(is_test(path, test), "{test} is no test of {}", path.display());
    }
}

#[test]
fn a_name_that_is_nowhere_is_not_found() {
    let here = docs().join("../crates/dispatch/tests/model/page.rs");
    assert!(is_test(&here, "a_name_that_is_nowhere_is_not_found"));
    for name in ["a_name_that_is", "there_is_nothing_of_this_name"] {
        assert!(!is_test(&here, name), "{name}");
    }
}

#[test]
fn the_diagram_and_the_table_have_the_same_arrows() {
    let page = page();
    let drawn: BTreeSet<Arrow> = page
        .lines()
        .filter_map(|line| line.trim().split_once(" --> "))
        .map(|(from, to)| arrow(from, to.split(':').next().unwrap_or(to)))
        .collect();
    let listed: BTreeSet<Arrow> = rows(&page).into_iter().map(|(arrow, _)| arrow).collect();
    assert!(drawn.len() > 10, "only {drawn:?}");
    assert_eq!(drawn, listed);
}

#[test]
fn every_arrow_names_a_test() {
    for (arrow, tests) in rows(&page()) {
        assert!(!named(&tests).is_empty(), "{arrow:?} names no test: {tests}");
    }
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn page() -> String {
    fs::read_to_string(docs().join("fallback.md")).unwrap()
}

fn arrow(from: &str, to: &str) -> Arrow {
    (from.trim().to_owned(), to.trim().to_owned())
}

/// Returns the rows of the table of arrows: the arrow, and the cell with its tests.
fn rows(page: &str) -> Vec<(Arrow, String)> {
    let (_, table) = page.split_once("\n| from | to |").unwrap();
    table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [from, to, _, _, tests] = cells[..] else { panic!("not five cells: {line}") };
            (arrow(from, to), tests.to_owned())
        })
        .collect()
}

/// Returns the tests that the text names as ``[`test`][file]``, with the short names of their
/// files.
fn named(text: &str) -> Vec<(&str, &str)> {
    text.split("[`")
        .skip(1)
        .filter_map(|rest| {
            let (test, rest) = rest.split_once("`][")?;
            Some((test, rest.split_once(']')?.0))
        })
        .collect()
}

/// Returns the files by their short names, from lines such as `[file]: ../crates/…`.
fn files(page: &str) -> BTreeMap<&str, PathBuf> {
    page.lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("]: "))
        .map(|(name, path)| (name, docs().join(path)))
        .collect()
}

/// Whether the file has a function of this name that is marked as a test, or whose name occurs
/// again in its folder, where cases are listed by name.
fn is_test(path: &Path, name: &str) -> bool {
    let text = fs::read_to_string(path).unwrap();
    let Some(at) = text.find(&format!("fn {name}(")) else { return false };
    let above = text[..at].rsplit("\n\n").next().unwrap_or_default();
    let is_marked = above.contains("#[test]") || above.contains("#[tokio::test");
    // A case is listed beside its file, or in the test target one folder above.
    let folder = path.parent().unwrap();
    is_marked || mentions(folder, name) + mentions(folder.parent().unwrap(), name) > 1
}

/// Returns how often the name occurs in the folder's files.
fn mentions(folder: &Path, name: &str) -> usize {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|it| it == "rs"))
        .map(|path| {
            let text = fs::read_to_string(path).unwrap();
            text.split(|it: char| !it.is_alphanumeric() && it != '_')
                .filter(|word| *word == name)
                .count()
        })
        .sum()
}

//! Words that must not appear in the repository.

use super::finding::Finding;
use super::tree::{Tree, code_lines};

/// Folders that exist only on one person's machine. Split, so that this file
/// does not contain them itself.
const FOLDERS: [&str; 3] = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

pub(crate) fn words(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| !is_lock(path)) {
        found.extend(machine_paths(path, text));
        if path.ends_with(".rs") {
            found.extend(rust(path, text));
        }
    }
    found
}

fn is_lock(path: &str) -> bool {
    path.ends_with(".lock") || path.ends_with("go.sum")
}

/// Finds paths of one person's machine. Tests may name any folder on purpose.
fn machine_paths(path: &str, text: &str) -> Vec<Finding> {
    if is_test(path) {
        return Vec::new();
    }
    let tests = if path.ends_with(".rs") { "#[cfg(test)]" } else { "\0" };
    let lines = (1..).zip(text.lines()).take_while(|(_, line)| *line != tests);
    lines
        .filter_map(|(number, line)| {
            let folder = FOLDERS.iter().find(|folder| names(line, folder))?;
            let what = format!("a path below {folder}, of one person's machine");
            Some(Finding::new(path, number, what, "name it from the repository's root"))
        })
        .collect()
}

/// Returns whether `line` has an absolute path below `folder`: one that does not
/// continue a longer path.
fn names(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|it| it.is_whitespace() || "\"'`(=:[,<".contains(it))
    })
}

fn is_test(path: &str) -> bool {
    path.split('/').any(|part| ["tests", "fixtures", "snapshots"].contains(&part))
        || path.ends_with("tests.rs")
}

fn rust(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut find = |line, what, instead| found.push(Finding::new(path, line, what, instead));
    for (number, line) in (1..).zip(text.lines()) {
        let comment = line.split_once("//").map_or("", |(_, comment)| comment);
        if ["TODO", "FIXME", "XXX"].iter().any(|word| has_word(comment, word)) {
            find(number, "a note of work to be done", "do it, or open an issue");
        }
        if line.trim() == "#[ignore]" {
            find(number, "a test ignored without a reason", "write #[ignore = \"why\"]");
        }
    }
    let library = path.starts_with("crates/") && path.contains("/src/") && !is_test(path);
    let lines: Vec<&str> = text.lines().collect();
    for (number, line) in code_lines(text) {
        if line.contains(concat!("todo", "!(")) || line.contains(concat!("unimplemented", "!(")) {
            find(number, "a stub", "write the code, or leave the function out");
        }
        let reasoned = number > 1 && lines[number - 2].trim_start().starts_with("//");
        if library && line.contains(concat!("thread::", "sleep")) && !reasoned {
            let instead =
                "wait for the event itself, or explain in the line before why there is none";
            find(number, "a sleep of a thread without a reason", instead);
        }
    }
    found
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|it: char| !it.is_alphanumeric() && it != '_').any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        words(&Tree::of(&[(path, text)])).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_path_of_one_persons_machine_is_found() {
        assert_eq!(found("a.md", "a\nsee `/home/me/x`\n"), [2]);
        assert_eq!(found("conf/a.toml", "dir = \"/Users/x\"\n"), [1]);
        assert_eq!(found("a.md", "https://example.org/Users/x and {dir}/home/x\n"), [0; 0]);
        assert_eq!(found("crates/a/tests/b.rs", "\"/root/x\"\n"), [0; 0]);
        assert_eq!(found("crates/a/src/b.rs", "#[cfg(test)]\n\"/root/x\"\n"), [0; 0]);
    }

    #[test]
    fn what_is_left_undone_is_found() {
        assert_eq!(found("a.rs", concat!("x(); // TO", "DO: y\n// METHOD_TODOS\n")), [1]);
        assert_eq!(found("a.rs", "fn a() {\n    todo!()\n}\n"), [2]);
        assert_eq!(found("a.rs", "#[ignore]\n#[ignore = \"slow\"]\n"), [1]);
    }

    #[test]
    fn a_library_does_not_sleep_without_a_reason_and_its_tests_may() {
        let text = "std::thread::sleep(x);\n// Why.\nstd::thread::sleep(x);\n\
                    #[cfg(test)]\nstd::thread::sleep(x);\n";
        assert_eq!(found("crates/a/src/b.rs", text), [1]);
        assert_eq!(found("xtask/src/b.rs", text), [0; 0]);
    }
}

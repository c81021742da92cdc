//! Words and phrases that must not appear in the repository.

use super::finding::Finding;
use super::tree::{Tree, code_lines};

/// Folders that exist only on one person's machine. Split, so that this file
/// does not contain them itself.
const FOLDERS: [&str; 3] = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Phrases that are hard to understand, and what to write instead. The style
/// section of CONTRIBUTING.md describes the style.
const PHRASES: [(&str, &str); 8] = [
    ("is told", "write who reports it: \"the runner reports\""),
    ("are told", "write who reports it: \"the runner reports\""),
    ("can be had", "write \"is available\", or how to get it"),
    ("whoever", "name the process or the person"),
    ("in hand", "write what has it: \"is running\", \"holds the claim\""),
    ("stands in", "write \"is in\", \"contains\" or \"replaces\""),
    ("for want of", "write \"because there is no\""),
    ("whereupon", "begin a new sentence"),
];

/// Files that quote the phrases: the style section, and this file.
const QUOTING: [&str; 2] = ["CONTRIBUTING.md", "xtask/src/tidy/words.rs"];

pub(crate) fn words(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| !is_lock(path)) {
        found.extend(machine_paths(path, text));
        found.extend(phrases(path, text));
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

/// Finds [`PHRASES`] in comments, documents, help and messages, also where a line
/// break divides them. An e-mail is an example's input, not text of this project.
fn phrases(path: &str, text: &str) -> Vec<Finding> {
    if QUOTING.contains(&path) || path.ends_with(".eml") {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let (marker, mut prose) = prose(line);
        let length = prose.len();
        if let Some((next_marker, next)) = lines.get(index + 1).map(|next| self::prose(next))
            && next_marker == marker
        {
            prose = format!("{prose} {next}");
        }
        let begins_here = |phrase: &str| position(&prose, phrase).is_some_and(|at| at < length);
        for (phrase, instead) in PHRASES.iter().filter(|(phrase, _)| begins_here(phrase)) {
            let what = format!("the unclear phrase \"{phrase}\"");
            found.push(Finding::new(path, index + 1, what, *instead));
        }
    }
    found
}

/// Splits a line into its comment marker, if any, and its words in lower case.
fn prose(line: &str) -> (&str, String) {
    let line = line.trim_start();
    let is_marker = |it: char| "/!#*".contains(it);
    let (marker, words) = line.split_at(line.find(|it| !is_marker(it)).unwrap_or(line.len()));
    (marker, words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase())
}

/// Returns where `phrase` is in `prose`, as whole words.
fn position(prose: &str, phrase: &str) -> Option<usize> {
    let is_word = |it: char| it.is_alphanumeric() || it == '_';
    let whole = |at: &usize| {
        !prose[..*at].ends_with(is_word) && !prose[at + phrase.len()..].starts_with(is_word)
    };
    prose.match_indices(phrase).map(|(at, _)| at).find(whole)
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
    fn an_unclear_phrase_is_found_in_comments_documents_and_help() {
        for (phrase, _) in PHRASES {
            assert_eq!(found("a.md", &format!("a\nb {phrase}.\n")), [2], "{phrase}");
            assert_eq!(found("crates/a/src/b.rs", &format!("/// A {phrase} b.\n")), [1]);
        }
        assert_eq!(found("crates/a/src/b.rs", "#[arg(help = \"Whoever asks\")]\n"), [1]);
        assert_eq!(found("conf/a.toml", "a = 1 # what can be had\n"), [1]);
    }

    #[test]
    fn an_unclear_phrase_is_found_across_a_line_break() {
        assert_eq!(found("a.rs", "    /// Ends for want\n    /// of a node.\nfn a() {}\n"), [1]);
        assert_eq!(found("a.md", "what is\ntold\n"), [1]);
        assert_eq!(found("a.rs", "// What it is\ntold();\n"), [0; 0]);
    }

    #[test]
    fn names_quotations_and_other_words_are_no_unclear_phrases() {
        let text = "fn the_end_is_told_once() {}\n// He sees this told by hand, in handfuls.\n";
        assert_eq!(found("a.rs", text), [0; 0]);
        assert_eq!(found("CONTRIBUTING.md", "| whoever | the process |\n"), [0; 0]);
        assert_eq!(found("conf/a.eml", "It can be had.\n"), [0; 0]);
    }

    #[test]
    fn a_library_does_not_sleep_without_a_reason_and_its_tests_may() {
        let text = "std::thread::sleep(x);\n// Why.\nstd::thread::sleep(x);\n\
                    #[cfg(test)]\nstd::thread::sleep(x);\n";
        assert_eq!(found("crates/a/src/b.rs", text), [1]);
        assert_eq!(found("xtask/src/b.rs", text), [0; 0]);
    }
}

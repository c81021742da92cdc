//! The limits on the length of files, and on the content of `lib.rs` and `mod.rs`.

use super::finding::Finding;
use super::tree::{Tree, code_lines};

/// The maximum number of lines of a file.
const FILE: usize = 500;
/// The maximum number of lines of code in a `lib.rs` or `mod.rs`.
const INDEX: usize = 100;
/// The maximum number of lines between the braces of a function in such a file: enough to call
/// another one.
const BODY: usize = 5;

pub(crate) fn length(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.with_extension("rs") {
        let lines = text.lines().count();
        if lines > FILE {
            let what = format!("{lines} lines, more than {FILE}");
            found.push(Finding::new(path, FILE + 1, what, "split it by what its parts do"));
        }
        if path.ends_with("src/lib.rs") || path.contains("/src/") && path.ends_with("/mod.rs") {
            found.extend(index(path, text));
        }
    }
    found
}

fn index(path: &str, text: &str) -> Vec<Finding> {
    let lines: Vec<_> = code_lines(text).collect();
    let instead = "move it to a file named for what it does, and export it from here";
    let mut found = Vec::new();
    if lines.len() > INDEX {
        let what = format!("{} lines of code, more than {INDEX}", lines.len());
        found.push(Finding::new(path, 1, what, instead));
    }
    for (place, (number, line)) in lines.iter().enumerate() {
        if line.starts_with("impl ") || line.starts_with("impl<") {
            found.push(Finding::new(path, *number, "an impl block", instead));
        }
        let long = is_function(line).then(|| body(&lines[place..])).filter(|body| *body > BODY);
        if let Some(body) = long {
            let what = format!("a function of {body} lines, more than {BODY}");
            found.push(Finding::new(path, *number, what, instead));
        }
    }
    found
}

fn is_function(line: &str) -> bool {
    line.split_once("fn ").is_some_and(|(before, after)| {
        let prefix = |word: &str| {
            word.starts_with("pub") || ["async", "const", "unsafe", "extern"].contains(&word)
        };
        before.split_whitespace().all(prefix)
            && after.starts_with(|first: char| first.is_alphabetic() || first == '_')
    })
}

/// Returns the number of lines between the braces of the function that `lines`
/// begin with. In formatted code, its closing brace has the indentation of its
/// first line.
fn body(lines: &[(usize, &str)]) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let Some((_, first)) = lines.first() else { return 0 };
    let is = |line: &str, ends: bool| indent(line) == indent(first) && ends;
    // A signature that spans several lines has its opening brace at the start of a line.
    let opens = lines.iter().position(|(_, line)| {
        is(line, line.ends_with('{')) || line.ends_with(';') || line.ends_with('}')
    });
    let Some(opens) = opens.filter(|at| lines[*at].1.ends_with('{')) else { return 0 };
    lines[opens + 1..].iter().take_while(|(_, line)| !is(line, line.trim() == "}")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let tree = Tree::of(&[(path, text)]);
        length(&tree).iter().map(|finding| format!("{}: {}", finding.line, finding.what)).collect()
    }

    #[test]
    fn a_file_of_more_than_500_lines_is_found() {
        assert_eq!(found("a/b.rs", &"x\n".repeat(500)), [""; 0]);
        assert_eq!(found("a/b.rs", &"x\n".repeat(501)), ["501: 501 lines, more than 500"]);
        assert_eq!(found("a/b.md", &"x\n".repeat(501)), [""; 0]);
    }

    #[test]
    fn logic_in_lib_rs_and_mod_rs_is_found() {
        let long = "//! Docs\npub(crate) async fn a(\n    x: u8,\n) -> u8 {\n    1\n    2\n    3\n    4\n    5\n    6\n}\n";
        assert_eq!(found("a/src/mod.rs", long), ["2: a function of 6 lines, more than 5"]);
        assert_eq!(found("a/src/lib.rs", "mod a;\nimpl A {}\n"), ["2: an impl block"]);
        assert_eq!(found("a/src/other.rs", long), [""; 0]);
        // For test programs, Rust has no other place for shared code.
        assert_eq!(found("a/tests/support/mod.rs", long), [""; 0]);
    }

    #[test]
    fn what_hands_on_and_tests_are_left_alone() {
        let text = "pub fn init() {\n    inner::init();\n}\n#[cfg(test)]\nimpl A {}\n";
        assert_eq!(found("a/src/lib.rs", text), [""; 0]);
        assert_eq!(found("a/src/lib.rs", "pub use a;\nfn b() {}\nfn c();\n"), [""; 0]);
    }
}

//! Checks that `cargo xtask` accepts its commands as the documents show them.
//! `cargo xtask test` tries those of `longshore`, once it has been built.

use super::finding::Finding;
use super::tree::Tree;
use crate::{cli, markdown};

pub(crate) fn readme(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.with_extension("md") {
        for command in markdown::commands(text) {
            let problem = match markdown::simple_commands(&command.text) {
                None => Some("quotes that do not close".to_owned()),
                Some(commands) => commands.iter().find_map(|words| wrong(words)),
            };
            if let Some(problem) = problem {
                let what = format!("a command that does not work: {problem}");
                let instead = "write it as a person can paste it";
                found.push(Finding::new(path, command.line, what, instead));
            }
        }
    }
    if tree.text("README.md").is_some_and(|text| markdown::commands(text).is_empty()) {
        let instead = "show the first command in a block marked sh";
        found.push(Finding::new("README.md", 1, "no command", instead));
    }
    found
}

/// Returns why `cargo xtask` would reject `words`; `None` if it accepts them, or
/// for any other program.
fn wrong(words: &[String]) -> Option<String> {
    match words {
        [cargo, xtask, ..] if cargo == "cargo" && xtask == "xtask" => cli::check(&words[1..]).err(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_does_not_parse_is_found() {
        let text = "```sh\ncargo xtask tidy\ncargo xtask lab upp\nsay 'x\n```\n";
        let found = readme(&Tree::of(&[("docs/a.md", text)]));
        let lines: Vec<_> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [3, 4]);
        assert!(found[0].what.contains("upp"), "{}", found[0]);
    }

    #[test]
    fn a_readme_without_a_command_is_found() {
        assert_eq!(readme(&Tree::of(&[("README.md", "# A\n")])).len(), 1);
    }
}

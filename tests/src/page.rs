//! Runs the commands of a Markdown page, and compares their output with what the page shows.
//!
//! - A block marked `sh` is run, together with the others of its section, in one shell and one folder.
//! - A block marked `text` after it has lines that its output must contain, in this order. `…` stands
//!   for any text, and spaces count once.
//! - `<!-- file: NAME -->` before a block makes it a file in that folder.
//! - `<!-- not run: REASON -->` before a block says why it cannot run in a test.
//!
//! Any other block is an error: the page must not show what nobody checks.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

/// A section of a page: what its blocks are for.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) title: String,
    commands: Vec<Commands>,
    files: BTreeMap<String, String>,
    /// Why each block that is not run cannot be.
    pub(crate) not_run: Vec<String>,
}

#[derive(Debug, Default)]
struct Commands {
    text: String,
    expected: Vec<String>,
}

/// Begins the line before the output of each block.
const MARK: &str = "@@block ";

impl Section {
    /// Returns the sections of `page` that have blocks.
    pub(crate) fn all(page: &str) -> Result<Vec<Self>> {
        let mut sections = vec![Self::default()];
        let mut comment = None;
        let mut lines = page.lines();
        while let Some(line) = lines.next() {
            let Some(section) = sections.last_mut() else { bail!("no section") };
            if let Some(title) = line.strip_prefix("## ") {
                sections.push(Self { title: title.to_owned(), ..Self::default() });
            } else if let Some(text) = line.strip_prefix("<!-- ") {
                comment = text.strip_suffix(" -->");
            } else if let Some(info) = line.strip_prefix("```") {
                let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
                section.add(info, comment.take(), &block)?;
            } else if !line.is_empty() {
                comment = None;
            }
        }
        sections.retain(|section| !section.commands.is_empty() || !section.not_run.is_empty());
        Ok(sections)
    }

    fn add(&mut self, info: &str, comment: Option<&str>, block: &[&str]) -> Result<()> {
        let text = block.iter().fold(String::new(), |text, line| text + line + "\n");
        let comment = comment.and_then(|comment| comment.split_once(": "));
        match (info, comment, self.commands.last_mut()) {
            (_, Some(("not run", reason)), _) => self.not_run.push(reason.to_owned()),
            (_, Some(("file", name)), _) => drop(self.files.insert(name.to_owned(), text)),
            ("sh", None, _) => self.commands.push(Commands { text, expected: Vec::new() }),
            ("text", None, Some(last)) if last.expected.is_empty() => {
                last.expected = block.iter().map(|line| (*line).to_owned()).collect();
            }
            _ => bail!("{}: a block that is not checked: {text}", self.title),
        }
        Ok(())
    }

    /// Writes the section's files and its script to `folder`, with `replaced` names, and returns
    /// the script's name.
    pub(crate) fn write(&self, folder: &Path, replaced: &[(&str, String)]) -> Result<&'static str> {
        const SCRIPT: &str = "section.sh";
        let mut script = "exec 2>&1\n".to_owned();
        for (number, commands) in self.commands.iter().enumerate() {
            writeln!(script, "printf '\\n{MARK}{number}\\n'\n{}", commands.text)?;
        }
        let files = self.files.iter().map(|(name, text)| (name.as_str(), text));
        for (name, text) in files.chain([(SCRIPT, &script)]) {
            fs::write(folder.join(name), replace(text, replaced)).context(name.to_owned())?;
        }
        Ok(SCRIPT)
    }

    /// Checks the script's `output`.
    pub(crate) fn check(&self, output: &str, replaced: &[(&str, String)]) -> Result<()> {
        for (number, commands) in self.commands.iter().enumerate() {
            let begin = format!("\n{MARK}{number}\n");
            let (_, own) = output.split_once(&begin).with_context(|| {
                format!("{}: not reached:\n{}\n{output}", self.title, commands.text)
            })?;
            let own = own.split(&format!("\n{MARK}")).next().unwrap_or_default();
            let mut lines = own.lines();
            for expected in &commands.expected {
                let expected = replace(expected, replaced);
                ensure!(
                    lines.any(|line| fits(line, &expected)),
                    "{}: the output of\n{}\ndoes not contain {expected:?}:\n{own}",
                    self.title,
                    commands.text
                );
            }
        }
        Ok(())
    }
}

/// Returns `text` with each name replaced.
pub(crate) fn replace(text: &str, replaced: &[(&str, String)]) -> String {
    replaced.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Returns whether `line` contains `expected`, in which `…` matches any text.
fn fits(line: &str, expected: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (line, expected) = (words(line), words(expected));
    let mut rest = line.as_str();
    expected.split('…').all(|part| match rest.split_once(part.trim()) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A\n## One\n<!-- file: a.toml -->\n```toml\nx = 1\n```\n\n```sh\na\nb\n```\n\n\
                        ```text\nid … end\n```\n## None\nText.\n## Two\n<!-- not run: no\u{20}engine -->\n```sh\nc\n```\n";

    #[test]
    fn blocks_are_found_in_their_sections() {
        let sections = Section::all(PAGE).unwrap();
        let titles: Vec<_> = sections.iter().map(|section| section.title.as_str()).collect();
        assert_eq!(titles, ["One", "Two"]);
        assert_eq!(sections[0].files["a.toml"], "x = 1\n");
        assert_eq!(sections[0].commands[0].text, "a\nb\n");
        assert_eq!(sections[1].not_run, ["no engine"]);
        for page in ["## A\n```text\nx\n```\n", "## A\n```sh\nx\n```\n```json\n{}\n```\n"] {
            assert!(Section::all(page).unwrap_err().to_string().contains("not checked"), "{page}");
        }
    }

    #[test]
    fn output_must_contain_the_lines_in_their_order() {
        let section = Section::all(PAGE).unwrap().swap_remove(0);
        let check = |output: &str| section.check(output, &[("end", "END".to_owned())]);
        check("\n@@block 0\nfirst\nid   7 and the END\nlast\n").unwrap();
        assert!(check("\n@@block 0\nid 7\nEND\n").unwrap_err().to_string().contains("id … END"));
        assert!(check("").unwrap_err().to_string().contains("not reached"));
    }
}

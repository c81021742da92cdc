//! A Markdown reader that covers what the checks need.

/// A fenced block of code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// The text after the opening fence, such as `sh`.
    pub info: String,
    /// The line of its first line of content, from 1.
    pub line: usize,
    pub text: String,
}

/// A command of a block, with continued lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub line: usize,
    pub text: String,
}

/// Returns the fenced blocks, and the lines outside of them with their numbers.
pub(crate) fn split(text: &str) -> (Vec<Block>, Vec<(usize, &str)>) {
    let (mut blocks, mut prose) = (Vec::new(), Vec::new());
    let mut open: Option<(&str, Block)> = None;
    for (line, content) in (1..).zip(text.lines()) {
        let trimmed = content.trim_start();
        match &mut open {
            Some((fence, _)) if trimmed.trim_end() == *fence => {
                blocks.extend(open.take().map(|(_, block)| block));
            }
            Some((_, block)) => {
                block.text.push_str(content);
                block.text.push('\n');
            }
            None => match fence(trimmed) {
                Some(mark) => {
                    let info = trimmed[mark.len()..].trim().to_owned();
                    open = Some((mark, Block { info, line: line + 1, text: String::new() }));
                }
                None => prose.push((line, content)),
            },
        }
    }
    blocks.extend(open.map(|(_, block)| block));
    (blocks, prose)
}

fn fence(line: &str) -> Option<&str> {
    ['`', '~'].into_iter().find_map(|mark| {
        let length = line.len() - line.trim_start_matches(mark).len();
        (length >= 3).then(|| &line[..length])
    })
}

/// Returns the commands of the blocks marked `sh`, without comment lines.
pub(crate) fn commands(text: &str) -> Vec<Command> {
    let (blocks, _) = split(text);
    blocks.iter().filter(|block| block.info == "sh").flat_map(commands_of).collect()
}

fn commands_of(block: &Block) -> Vec<Command> {
    let mut found: Vec<Command> = Vec::new();
    let mut continued = false;
    for (line, content) in (block.line..).zip(block.text.lines()) {
        let content = content.trim();
        let part = content.strip_suffix('\\');
        match found.last_mut() {
            Some(last) if continued => {
                last.text.push(' ');
                last.text.push_str(part.unwrap_or(content).trim_end());
            }
            _ if content.is_empty() || content.starts_with('#') => continue,
            _ => {
                let text = part.unwrap_or(content).trim_end().to_owned();
                found.push(Command { line, text });
            }
        }
        continued = part.is_some();
    }
    found
}

/// Splits a command line into its simple commands, each as words: split at `|`,
/// `&&`, `;`, without leading assignments and without redirections. `None` if
/// the line cannot be parsed.
pub(crate) fn simple_commands(text: &str) -> Option<Vec<Vec<String>>> {
    let mut found = vec![Vec::new()];
    let mut words = words(text)?.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "|" | "||" | "&&" | ";" => found.push(Vec::new()),
            ">" | ">>" | "<" | "2>" => drop(words.next()),
            _ if word.starts_with(['>', '<']) || word.starts_with("2>") => {}
            _ => found.last_mut()?.push(word),
        }
    }
    for command in &mut found {
        let assignments = command.iter().take_while(|word| is_assignment(word)).count();
        command.drain(..assignments);
    }
    found.retain(|command| !command.is_empty());
    Some(found)
}

/// Splits a line into words, without a trailing comment.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = shell_words::split(text).ok()?;
    if let Some(comment) = words.iter().position(|word| word.starts_with('#')) {
        words.truncate(comment);
    }
    Some(words)
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_with_their_lines() {
        let text = "# A\n\n```sh\n# first\na \\\n  --b\n\nc   # why\n```\n```rust\nd\n```\n";
        let found: Vec<_> =
            commands(text).into_iter().map(|command| (command.line, command.text)).collect();
        assert_eq!(found, [(5, "a --b".into()), (8, "c   # why".into())]);
    }

    #[test]
    fn prose_is_what_is_not_in_a_block() {
        let (blocks, prose) = split("a\n~~~text\nb\n```\n~~~\nc\n");
        assert_eq!(blocks, [Block { info: "text".into(), line: 3, text: "b\n```\n".into() }]);
        assert_eq!(prose, [(1, "a"), (6, "c")]);
    }

    #[test]
    fn a_command_line_is_parted_as_a_shell_parts_it() {
        let found = simple_commands("A_B=1 x 'y z' | q > out && r -- 2>/dev/null # s").unwrap();
        assert_eq!(found, [vec!["x", "y z"], vec!["q"], vec!["r", "--"]]);
        assert_eq!(simple_commands("x 'y"), None);
    }
}

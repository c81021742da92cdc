//! `--env-file FILE`, in docker's format.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::CliError;

/// The maximum size of a file, in bytes.
const LARGEST: u64 = 1 << 20;

/// Reads the variables in `file`. A name without a value takes the value that `environment` returns,
/// and is left out if there is none.
///
/// # Errors
/// If the file cannot be read or a line is no variable. The error names the file and the line, and
/// never a value.
pub fn read(
    file: &Path,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, CliError> {
    let failed = |why: &str| CliError::usage(format!("--env-file {}: {why}", file.display()));
    let mut text = String::new();
    let read = File::open(file).and_then(|opened| opened.take(LARGEST).read_to_string(&mut text));
    let size = read.map_err(|error| failed(&format!("failed to read the file: {error}")))?;
    if size as u64 >= LARGEST {
        return Err(failed("the file is larger than 1 MiB"));
    }
    let mut variables = Vec::new();
    // As docker, without the byte order mark that some editors write.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    for (before, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line.trim_end(), environment(line.trim_end())),
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            let line = before.saturating_add(1);
            return Err(failed(&format!("line {line}: write it as NAME=VALUE or NAME")));
        }
        variables.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(String, String)>, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("env");
        std::fs::write(&file, text).unwrap();
        read(&file, |name| (name == "SET").then(|| "from outside".to_owned()))
    }

    #[test]
    fn a_file_is_read_as_docker_reads_it() {
        let text = "# comment\n\nA=1\n  B = x y \nC='q'=\nSET\nUNSET\nD=\n";
        let expected = [("A", "1"), ("C", "'q'="), ("SET", "from outside"), ("D", "")];
        assert!(parse(text).is_err(), "docker refuses white space in a name");
        let read = parse(&text.replace("  B = x y \n", "")).unwrap();
        let read: Vec<_> =
            read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_name() {
        assert_eq!(parse("\u{feff}A=1\r\n").unwrap(), [("A".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn a_line_that_is_no_variable_is_named_without_its_value() {
        for text in ["A=1\n=hunter2\n", "A=1\nB hunter2=hunter2\n"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
        }
    }
}

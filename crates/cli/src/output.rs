//! The command's own messages on stdout and stderr.

use std::borrow::Cow;
use std::fmt::{self, Debug, Display};
use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use crate::error::CliError;
use crate::raw_mode::end_of_line;
use crate::streams::Output;

/// Prints `text` for people on stdout, without terminal control sequences. A reader that has gone
/// away is not an error: it has read what it needs.
pub fn print(text: &str) -> Result<u8, CliError> {
    write(&printable(text))
}

/// Prints `value` on stdout, as JSON. The output contains no control characters either: JSON has
/// escapes for them.
pub fn print_json(value: &impl Serialize) -> Result<u8, CliError> {
    let mut json = serde_json::to_string_pretty(value)
        .map_err(|e| CliError::failed(format!("failed to write JSON: {e}")))?;
    json.push('\n');
    write(&escaped(&json, |c| format!("\\u{:04x}", u32::from(c))))
}

fn write(text: &str) -> Result<u8, CliError> {
    written(Output::Stdout.write_all(text.as_bytes()))
}

fn written(result: io::Result<()>) -> Result<u8, CliError> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::failed(format!("failed to write to stdout: {error}")))
        }
        _ => Ok(0),
    }
}

/// Returns `text` with an escape such as `\u{1b}` in place of each character that could change what
/// a terminal shows. Newlines and tabs stay.
///
/// Texts of servers, images, jobs and configuration files become part of messages.
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c.escape_default().to_string())
}

fn escaped(text: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let show = |c: char| if is_control(c) { escape(c) } else { c.to_string() };
    Cow::Owned(text.chars().map(show).collect())
}

/// Whether `c` is a control character other than a newline or a tab, or changes the direction of the
/// text after it.
fn is_control(c: char) -> bool {
    let direction =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    direction || (c.is_control() && c != '\n' && c != '\t')
}

/// Prints `text` on stderr, without terminal control sequences. Each line is prefixed with the
/// command's name.
pub fn say(text: &str) {
    let mut lines = String::new();
    for line in printable(text).lines() {
        lines.extend(["longshore: ", line, end_of_line()]);
    }
    // One write, which is not mixed with those of other programs. If stderr is closed, the error cannot be
    // reported anywhere.
    let _ = Output::Stderr.write_all(lines.as_bytes());
}

/// Reports why the command cannot continue.
pub fn complain(error: &dyn Display) {
    say(&format!("error: {error}"));
}

/// Prints the help, the version or why the command line is wrong, and ends this process.
pub fn usage(error: &clap::Error) -> ! {
    let text = error.to_string();
    if text.contains(is_control) {
        let _ = write!(io::stderr(), "{}", printable(&text));
        std::process::exit(error.exit_code());
    }
    // A usage error has its own code, also if stderr is closed.
    let printed = error.print();
    if !error.use_stderr()
        && let Err(error) = written(printed)
    {
        complain(&error);
        std::process::exit(error.exit_code().into());
    }
    std::process::exit(error.exit_code());
}

/// Reports something that was accepted but is probably not intended.
pub fn warn(text: &str) {
    say(&format!("warning: {text}"));
}

/// Sends diagnostics to stderr: errors, or more with `--verbose`. LONGSHORE_LOG overrides both.
pub fn log_to_stderr(verbose: u8) {
    let default = match verbose {
        // A failed request is reported as the reason why a runner was passed over.
        0 => "error,kube_client=off",
        1 => "info,longshore=debug",
        _ => "debug",
    };
    let filter =
        EnvFilter::try_from_env("LONGSHORE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours_wanted() && io::stderr().is_terminal())
        .fmt_fields(debug_fn(write_field).delimited(" "))
        .with_writer(io::stderr)
        .init();
}

/// Writes a field of a diagnostic. Its value may be the text of a server.
fn write_field(to: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    let value = format!("{value:?}");
    let value = printable(&value);
    match field.name() {
        "message" => write!(to, "{value}"),
        name => write!(to, "{name}={value}"),
    }
}

/// Whether the user wants colours, by <https://no-color.org>.
fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_controls_a_terminal_is_printed() {
        assert_eq!(printable("a\tb\nü"), "a\tb\nü");
        assert_eq!(printable("\x1b[2J\r\u{9b}1m"), "\\u{1b}[2J\\r\\u{9b}1m");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
        let json = escaped("\"\u{7f}\u{202e}\"", |c| format!("\\u{:04x}", u32::from(c)));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), "\u{7f}\u{202e}");
    }
}

//! Reads files of limited size.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::{Location, Problem};

/// The maximum size of a file, in bytes.
pub(crate) const MAX_BYTES: u64 = 1 << 20;

/// Why a file was not read.
pub(crate) enum Unreadable {
    Missing(Problem),
    Other(Problem),
}

impl From<Unreadable> for Problem {
    fn from(reason: Unreadable) -> Self {
        match reason {
            Unreadable::Missing(problem) | Unreadable::Other(problem) => problem,
        }
    }
}

/// Reads the regular file at `path`, and returns its text without a byte order mark.
pub(crate) fn read(path: &Path) -> Result<String, Unreadable> {
    let problem = |what: &str| Problem::new(what).at(Location::file(path));
    let other = |what: &str| Unreadable::Other(problem(what));
    let failed = |e: std::io::Error| match e.kind() {
        ErrorKind::NotFound => Unreadable::Missing(problem("there is no such file")),
        _ => Unreadable::Other(problem(&format!("failed to read the file: {e}"))),
    };
    // The metadata is read before the file is opened, because opening a named pipe waits for a
    // writer.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(other("this is a folder, not a file"));
    }
    if !metadata.is_file() {
        return Err(other("this is not a regular file"));
    }
    if metadata.len() > MAX_BYTES {
        return Err(other(TOO_LARGE));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(other(TOO_LARGE));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = good.iter().filter(|b| **b == b'\n').count() + 1;
        let at = Location::file(path).line(line);
        Unreadable::Other(Problem::new("the file is not valid UTF-8").at(at))
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

const TOO_LARGE: &str = "the file is larger than 1 MiB";

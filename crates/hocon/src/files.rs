//! Reads files of limited size.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::{Error, Includer, Location};

/// The maximum size of a file, in bytes.
pub(crate) const MAX_BYTES: u64 = 1 << 20;

pub(crate) const TOO_LARGE: &str = "the file is larger than 1 MiB";

/// Reads any regular file of at most 1 MiB, in UTF-8 with or without a byte order mark.
///
/// A relative path is relative to the working folder of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files;

impl Includer for Files {
    fn read(&self, path: &Path) -> Result<Option<String>, Error> {
        match bytes(path) {
            Ok(bytes) => text(bytes, path).map(Some),
            Err(Unreadable::Failed(e)) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(reason) => {
                let message = match reason {
                    Unreadable::Failed(e) => format!("failed to read the file: {e}"),
                    Unreadable::Refused(message) => message.to_owned(),
                };
                Err(Error::new(Location::file(path), message))
            }
        }
    }

    fn identity(&self, path: &Path) -> PathBuf {
        path.canonicalize().unwrap_or_else(|_| path.to_owned())
    }
}

/// Why the content of a file was not read.
enum Unreadable {
    Failed(io::Error),
    Refused(&'static str),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, Unreadable> {
    // The metadata is read before the file is opened, because opening a named pipe waits for a
    // writer.
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(Unreadable::Refused("this is a folder, not a file"));
    }
    if !metadata.is_file() {
        return Err(Unreadable::Refused("this is not a regular file"));
    }
    if metadata.len() > MAX_BYTES {
        return Err(Unreadable::Refused(TOO_LARGE));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Unreadable::Refused(TOO_LARGE));
    }
    Ok(bytes)
}

fn text(bytes: Vec<u8>, path: &Path) -> Result<String, Error> {
    let text = String::from_utf8(bytes).map_err(|e| {
        let good = e.as_bytes().iter().take(e.utf8_error().valid_up_to());
        let line = good.filter(|b| **b == b'\n').count().saturating_add(1);
        Error::new(Location::file(path).line(line), "the file is not valid UTF-8")
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

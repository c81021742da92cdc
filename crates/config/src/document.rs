//! Reads single documents, such as job files.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::check::check;
use crate::error::ordered;
use crate::format::Context;
use crate::json_schema::schema_of;
use crate::{ConfigError, Format, Location, Problem, file, typed};

/// Reads the file at `path` (at most 1 MiB; .toml, .yaml, .yml or .json) as a `T`.
///
/// # Errors
/// Names the file, key and line of each problem, and the nearest known key. Refuses a missing file,
/// a folder, a file that is too large and a file that is not UTF-8.
pub fn read_document<T: DeserializeOwned + JsonSchema + 'static>(
    path: &Path,
) -> Result<T, ConfigError> {
    let format = document_format(path)?;
    let text = file::read(path)?;
    parse(path, format, &text)
}

/// Reads `text` as a `T`, as if it were a file called `name`.
///
/// # Errors
/// The same as [`read_document`].
pub fn parse_document<T: DeserializeOwned + JsonSchema + 'static>(
    name: &str,
    format: Format,
    text: &str,
) -> Result<T, ConfigError> {
    parse(Path::new(name), format, text)
}

/// Returns the format of a document. HOCON is not allowed: a document has no substitutions and no
/// includes.
fn document_format(path: &Path) -> Result<Format, Problem> {
    let refuse = || {
        Problem::new("unknown or missing file extension: use .toml, .yaml, .yml or .json")
            .at(Location::file(path))
    };
    match Format::of(path) {
        Ok(Format::Hocon) | Err(_) => Err(refuse()),
        Ok(format) => Ok(format),
    }
}

fn parse<T: DeserializeOwned + JsonSchema + 'static>(
    path: &Path,
    format: Format,
    text: &str,
) -> Result<T, ConfigError> {
    let part = schema_of::<T>().root();
    let context = Context { environment: &BTreeMap::new(), wanted: &|_| true };
    let (mut node, _) = format.parse(text, path, &context).map_err(ordered)?;
    let problems = check(&mut node, part);
    typed::extract(&mut [node], part, problems).map_err(ordered)
}

//! Reads single documents, such as job files.

use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{ConfigError, Format, Problem};

/// Reads the file at `path` (at most 1 MiB; .toml, .yaml, .yml or .json) as a `T`.
///
/// # Errors
/// Names file, key and line of each thing that is wrong, and the nearest key that is known.
pub fn read_document<T: DeserializeOwned + JsonSchema>(path: &Path) -> Result<T, ConfigError> {
    let format = Format::of(path)?;
    let text = std::fs::read_to_string(path).map_err(|e| Problem::new(e.to_string()))?;
    parse_document(&path.display().to_string(), format, &text)
}

/// Reads `text` as a `T`, as if it were a file called `name`.
///
/// # Errors
/// As [`read_document`].
pub fn parse_document<T: DeserializeOwned + JsonSchema>(
    name: &str,
    format: Format,
    text: &str,
) -> Result<T, ConfigError> {
    let wrong = |e: &dyn std::fmt::Display| Problem::new(format!("{name}: {e}"));
    match format {
        Format::Toml => toml::from_str(text).map_err(|e| wrong(&e)),
        Format::Yaml => serde_saphyr::from_str(text).map_err(|e| wrong(&e)),
        Format::Json => serde_json::from_str(text).map_err(|e| wrong(&e)),
        Format::Hocon => Err(wrong(&"write it as .toml, .yaml or .json")),
    }
    .map_err(Into::into)
}

//! The formats of configuration files.

use std::collections::BTreeMap;
use std::path::Path;

use crate::node::{Node, Value};
use crate::{Location, Problem, Warning};

#[cfg(feature = "hocon")]
mod hocon;
mod json;
mod toml;
#[cfg(feature = "yaml")]
mod yaml;

/// What reads HOCON where the feature is off.
#[cfg(not(feature = "hocon"))]
mod hocon {
    use super::{Context, Location, Node, Path, Problem, Warning, not_built_in};

    pub(super) fn parse(
        _: &str,
        path: &Path,
        _: &Context<'_>,
    ) -> Result<(Node, Vec<Warning>), Problem> {
        Err(not_built_in("hocon", &Location::file(path)))
    }
}

/// What reads YAML where the feature is off.
#[cfg(not(feature = "yaml"))]
mod yaml {
    use super::{Location, Node, Problem, not_built_in};

    pub(super) fn parse(_: &str, file: &Location) -> Result<Node, Vec<Problem>> {
        Err(vec![not_built_in("yaml", file)])
    }
}

#[cfg(not(all(feature = "hocon", feature = "yaml")))]
fn not_built_in(feature: &str, file: &Location) -> Problem {
    let message = format!("failed to read the file: built without the feature `{feature}`");
    Problem::new(message).at(file.clone())
}

/// A format of configuration files and documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// TOML 1.0, `.toml`.
    Toml,
    /// YAML 1.2, `.yaml` and `.yml`.
    Yaml,
    /// JSON, `.json`.
    Json,
    /// HOCON as in Cortex's `application.conf`, `.conf`.
    Hocon,
}

/// What a file needs besides its text. Only HOCON uses it.
#[cfg_attr(not(feature = "hocon"), expect(dead_code, reason = "only HOCON uses it"))]
pub(crate) struct Context<'a> {
    /// The fallback for substitutions that find nothing in the file.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// Returns whether to resolve a top-level key. All others belong to other programs.
    pub(crate) wanted: &'a dyn Fn(&str) -> bool,
}

impl Format {
    /// Returns the format for the extension of `path`.
    ///
    /// # Errors
    /// If the extension is missing or unknown. The error lists the allowed extensions.
    pub fn of(path: &Path) -> Result<Self, Problem> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("toml") => Ok(Self::Toml),
            Some("yaml" | "yml") => Ok(Self::Yaml),
            Some("json") => Ok(Self::Json),
            Some("conf") => Ok(Self::Hocon),
            _ => Err(Problem::new(
                "unknown or missing file extension: use .toml, .yaml, .yml, .json or .conf",
            )
            .at(Location::file(path))),
        }
    }

    /// Parses `text`, the content of the file at `path`, to a tree. An empty text is an empty table.
    pub(crate) fn parse(
        self,
        text: &str,
        path: &Path,
        context: &Context<'_>,
    ) -> Result<(Node, Vec<Warning>), Vec<Problem>> {
        let file = Location::file(path);
        let (node, warnings) = match self {
            Self::Toml => (toml::parse(text, &file)?, Vec::new()),
            Self::Json => (json::parse(text, &file)?, Vec::new()),
            Self::Yaml => (yaml::parse(text, &file)?, Vec::new()),
            Self::Hocon => hocon::parse(text, path, context).map_err(|problem| vec![problem])?,
        };
        match node.value {
            Value::Table(_) => Ok((node, warnings)),
            // YAML parses a file that is empty or only has comments as null.
            Value::Null => Ok((Node::empty_table(node.origin), warnings)),
            value => {
                let message = format!("found {}, expected keys and values", value.describe());
                Err(vec![Problem::new(message).at(file)])
            }
        }
    }
}

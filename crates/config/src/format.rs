//! The formats of configuration files.

use std::collections::BTreeMap;
use std::path::Path;

use crate::node::{Node, Value};
use crate::{Location, Problem, Warning};

mod hocon;
mod json;
mod toml;
mod yaml;

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
        let mut warnings = Vec::new();
        let node = match self {
            Self::Toml => toml::parse(text, &file)?,
            Self::Yaml => yaml::parse(text, &file)?,
            Self::Json => json::parse(text, &file)?,
            Self::Hocon => {
                let (node, said) = hocon::parse(text, path, context).map_err(|p| vec![p])?;
                warnings = said;
                node
            }
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

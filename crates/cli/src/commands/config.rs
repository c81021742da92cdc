//! `longshore config`.

use std::fmt::Write;

use longshore::Config;
use longshore::config::schema_json;

use crate::config_args::ConfigArgs;
use crate::error::CliError;
use crate::{output, settings};

/// Prints each key with its effective value and the value's origin.
pub fn show(args: &ConfigArgs) -> Result<u8, CliError> {
    let loaded = settings::load(args, false)?;
    let settings = loaded.settings()?;
    let lines: Vec<(String, &dyn std::fmt::Display)> = settings
        .iter()
        .map(|setting| {
            let assignment = match &setting.value {
                serde_json::Value::Null => format!("{} is not set", setting.key),
                value => format!("{} = {value}", setting.key),
            };
            (assignment, &setting.origin as &dyn std::fmt::Display)
        })
        .collect();
    let width = lines.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0).min(60);
    let mut text = String::new();
    for (assignment, origin) in lines {
        let _ = writeln!(text, "{assignment:width$}  # {origin}");
    }
    output::print(&text)
}

/// Prints the JSON schema of the configuration.
pub fn schema() -> Result<u8, CliError> {
    output::print(&schema_json::<Config>())
}

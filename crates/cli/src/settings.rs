//! Loads the configuration.

use longshore::config::{Loaded, Loader};
use longshore::{Config, Dispatcher};

use crate::args::ConfigArgs;
use crate::error::CliError;
use crate::{config_file, output};

/// Loads the configuration: defaults < file < environment < flags.
pub fn load(args: &ConfigArgs) -> Result<Loaded<Config>, CliError> {
    let mut loader = Loader::<Config>::new();
    if let Some(file) = config_file::find(args.config.as_deref())? {
        loader = loader.file(file);
    }
    // A variable that is not UTF-8 cannot be one of ours.
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    loader = loader.environment(std::env::vars_os().filter_map(text));
    for (key, value) in &args.set {
        loader = loader.set(key, value);
    }
    let loaded = loader.load()?;
    for warning in &loaded.warnings {
        output::warn(&warning.to_string());
    }
    for warning in longshore::warnings(&loaded.value) {
        output::warn(&warning);
    }
    Ok(loaded)
}

/// Loads the configuration and builds its dispatcher.
pub fn dispatcher(args: &ConfigArgs) -> Result<Dispatcher, CliError> {
    assemble(args).map(|(_, dispatcher)| dispatcher)
}

/// Loads the configuration and builds its dispatcher. Returns both.
pub fn assemble(args: &ConfigArgs) -> Result<(Loaded<Config>, Dispatcher), CliError> {
    let loaded = load(args)?;
    let dispatcher =
        longshore::dispatcher(&loaded.value).map_err(|e| CliError::failed(e.to_string()))?;
    Ok((loaded, dispatcher))
}

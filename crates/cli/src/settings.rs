//! Finds and loads the configuration.

use std::path::PathBuf;

use longshore::config::{Loaded, Loader};
use longshore::{Config, Dispatcher};

use crate::args::ConfigArgs;
use crate::error::CliError;
use crate::output;

/// Loads the configuration: defaults < file < environment < flags.
pub fn load(args: &ConfigArgs) -> Result<Loaded<Config>, CliError> {
    let mut loader = Loader::<Config>::new();
    if let Some(file) = args.config.clone().or_else(default_file) {
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

/// Returns `longshore.toml` in the user's or the system's configuration folder, if it exists.
fn default_file() -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let xdg = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).and_then(absolute);
    let home = || std::env::home_dir().and_then(absolute).map(|home| home.join(".config"));
    let users = xdg.or_else(home).map(|base| base.join("longshore/longshore.toml"));
    let systems = PathBuf::from("/etc/longshore/longshore.toml");
    users.into_iter().chain([systems]).find(|path| path.exists())
}

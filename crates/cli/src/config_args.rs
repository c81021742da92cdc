//! The part of the command line that selects the configuration.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::arg_values::key_value;
use crate::complete_setting;

/// The options that select the configuration.
#[derive(Debug, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file (.toml, .yaml, .json, or HOCON .conf)
    ///
    /// Default: the file that LONGSHORE_CONFIG names, else longshore.toml (.yaml, .json, .conf) in
    /// $XDG_CONFIG_HOME/longshore or /etc/longshore, if it exists.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Set a key of the configuration, such as job.docker.host=unix:///run/docker.sock
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value, add = complete_setting::completer())]
    pub set: Vec<(String, String)>,
}

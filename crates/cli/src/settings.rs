//! Loads the configuration.

use std::collections::BTreeMap;

use longshore::config::{ConfigError, Loaded, Loader, Origin};
use longshore::runner::RunnerName;
use longshore::{Config, Dispatcher};

use crate::config_args::ConfigArgs;
use crate::error::CliError;
use crate::settings_schema::SETTINGS;
use crate::{config_file, output};

/// Loads the configuration: defaults < file < environment < flags. Prints its warnings, unless
/// `quiet`. What was loaded is never freed: a command has it to its end.
pub fn load(args: &ConfigArgs, quiet: bool) -> Result<&'static mut Loaded<Config>, CliError> {
    let loaded = read(args, environment())?.map_err(|error| {
        let variables = variables_of(&error);
        CliError::failed(match variables.first() {
            Some(variable) => format!("{error}\n{}", remedy(variable)),
            None => error.to_string(),
        })
    })?;
    if !quiet {
        warn(&loaded);
    }
    Ok(Box::leak(Box::new(loaded)))
}

/// Loads the configuration and builds its dispatcher. Returns both.
pub fn assemble(
    args: &ConfigArgs,
    quiet: bool,
) -> Result<(&'static Loaded<Config>, Dispatcher), CliError> {
    let loaded = load(args, quiet)?;
    let dispatcher = build(loaded)?;
    Ok((loaded, dispatcher))
}

/// Like [`assemble`], for a job that is to outlive this command. If this command itself runs in a job
/// (`LONGSHORE_ATTEMPT` is set), local processes are left out: they would end together with that job.
pub fn assemble_detached(args: &ConfigArgs, quiet: bool) -> Result<Dispatcher, CliError> {
    let loaded = load(args, quiet)?;
    let outer = std::env::var("LONGSHORE_ATTEMPT").ok();
    if let Some(outer) = outer.filter(|outer| !outer.is_empty()) {
        leave_out_processes(&mut loaded.value.job.runners, &outer)?;
    }
    build(loaded)
}

fn leave_out_processes(runners: &mut Vec<RunnerName>, outer: &str) -> Result<(), CliError> {
    let before = runners.len();
    runners.retain(|runner| *runner != RunnerName::process());
    let why = format!(
        "a detached local process would end together with the job that starts it (attempt {outer})"
    );
    if runners.is_empty() && before > 0 {
        return Err(CliError::failed(format!(
            "{why}: run it without --detach, or on another runner"
        )));
    }
    if runners.len() < before {
        output::warn(&format!("process is not used: {why}"));
    }
    Ok(())
}

/// Builds a dispatcher for a command about recorded jobs. Such a command uses few settings, so an
/// invalid environment variable, which may belong to another program, is ignored with a warning.
pub fn of_recorded(args: &ConfigArgs) -> Result<Dispatcher, CliError> {
    let mut environment = environment();
    loop {
        let error = match read(args, environment.clone())? {
            Ok(loaded) => {
                warn(&loaded);
                return build(&loaded);
            }
            Err(error) => error,
        };
        let variables = variables_of(&error);
        if variables.is_empty() {
            return Err(error.into());
        }
        for variable in variables {
            output::warn(&format!("the invalid environment variable {variable} is ignored"));
            environment.remove(&variable);
        }
    }
}

/// Loads the configuration without the command's options and builds its dispatcher, for the
/// completion of a command line, where nothing can be reported. Returns `None` if it is invalid.
pub fn for_completion() -> Option<(Loaded<Config>, Dispatcher)> {
    let loaded = read(&ConfigArgs::default(), environment()).ok()?.ok()?;
    let dispatcher = build(&loaded).ok()?;
    Some((loaded, dispatcher))
}

/// Builds the dispatcher of `loaded`. Its journal stays open until the end of the command: once its
/// last user closes it, SQLite writes the whole log into the database, and waits for the disk.
fn build(loaded: &Loaded<Config>) -> Result<Dispatcher, CliError> {
    let dispatcher =
        longshore::dispatcher(&loaded.value).map_err(|e| CliError::failed(e.to_string()))?;
    std::mem::forget(dispatcher.clone());
    Ok(dispatcher)
}

fn warn(loaded: &Loaded<Config>) {
    for warning in &loaded.warnings {
        output::warn(&warning.to_string());
    }
    for warning in longshore::config::warnings(&loaded.value) {
        output::warn(&warning);
    }
}

fn environment() -> BTreeMap<String, String> {
    // A variable that is not UTF-8 cannot be one of ours.
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Reads the configuration. The outer error means that no configuration file could be chosen.
fn read(
    args: &ConfigArgs,
    environment: BTreeMap<String, String>,
) -> Result<Result<Loaded<Config>, ConfigError>, CliError> {
    let mut loader = Loader::<Config>::new().schema(&SETTINGS);
    if let Some(file) = config_file::find(args.config.as_deref())? {
        loader = loader.file(file);
    }
    loader = loader.environment(environment);
    for (key, value) in &args.set {
        loader = loader.set(key, value);
    }
    Ok(loader.load())
}

/// Returns the environment variables that `error` is about.
fn variables_of(error: &ConfigError) -> Vec<String> {
    let variable = |problem: &longshore::config::Problem| match &problem.origin {
        Some(Origin::Environment(name)) => Some(name.clone()),
        _ => None,
    };
    error.problems().iter().filter_map(variable).collect()
}

/// Returns what to do about an invalid variable that another program set.
fn remedy(variable: &str) -> String {
    if variable.starts_with("LONGSHORE_") {
        return format!("correct it, or unset it: unset {variable}");
    }
    format!(
        "if {variable} belongs to another program, unset it (env -u {variable} longshore ...), or set \
         LONGSHORE_{variable}, which takes precedence"
    )
}

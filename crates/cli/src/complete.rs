//! What a shell offers when a person completes a command line.
//!
//! Nothing can be reported here: what cannot be found is not offered.

use std::time::Duration;

use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use longshore::config::keys_with_choices;
use longshore::{Config, Filter, JobState, Record};

use crate::{listing, settings};

/// The variable with which a shell asks for candidates. It contains the shell's name.
pub const VARIABLE: &str = "LONGSHORE_COMPLETE";

/// The most jobs that are offered: more cannot be chosen from.
const MOST: u32 = 200;

/// How long a person waits for candidates. After it, there are none.
const PATIENCE: Duration = Duration::from_secs(2);

/// Completes a recorded job.
pub fn jobs() -> ArgValueCandidates {
    ArgValueCandidates::new(|| candidates(Filter::default()))
}

/// Completes a job that has not ended.
pub fn open_jobs() -> ArgValueCandidates {
    ArgValueCandidates::new(|| candidates(Filter::default().not_ended()))
}

/// Completes a configured runner.
pub fn runners() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let configured = settings::for_completion().map(|(loaded, _)| loaded.value.job.runners);
        let names = configured.into_iter().flatten();
        names.map(|name| CompletionCandidate::new(name.to_string())).collect()
    })
}

/// Completes `KEY=VALUE` of the configuration.
pub fn settings() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &std::ffi::OsStr| {
        let current = current.to_string_lossy();
        setting(&current, &keys_with_choices::<Config>())
            .into_iter()
            .map(CompletionCandidate::new)
            .collect()
    })
}

/// Completes a condition of `ps --filter`.
pub fn filters() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let states = JobState::ALL.map(|state| format!("state={}", state.name()));
        let others = ["name=", "runner=", "label="].map(str::to_owned);
        states.into_iter().chain(others).map(CompletionCandidate::new).collect()
    })
}

/// Returns what `current`, the beginning of `KEY=VALUE`, may become.
fn setting(current: &str, keys: &[(String, Vec<String>)]) -> Vec<String> {
    let of_key = |(key, choices): &(String, Vec<String>)| match current.split_once('=') {
        None => vec![format!("{key}=")],
        Some((begun, _)) if begun == key => {
            choices.iter().map(|choice| format!("{key}={choice}")).collect()
        }
        Some(_) => Vec::new(),
    };
    keys.iter().flat_map(of_key).filter(|text| text.starts_with(current)).collect()
}

/// Returns the IDs of the newest jobs of `filter`, and their names.
fn candidates(filter: Filter) -> Vec<CompletionCandidate> {
    let records = records(filter).unwrap_or_default();
    let ids = records.iter().map(|record| (record.id.to_string(), record));
    let names = records.iter().filter_map(|record| Some((record.spec.name.clone()?, record)));
    // A name that a shell would split, or that controls a terminal, is not offered.
    let plain = |text: &str| text.chars().all(|it| !it.is_whitespace() && !it.is_control());
    let all = ids.chain(names.filter(|(name, _)| plain(name)));
    all.map(|(text, record)| {
        CompletionCandidate::new(text).help(Some(listing::in_one_line(record).into()))
    })
    .collect()
}

fn records(filter: Filter) -> Option<Vec<Record>> {
    let (_, dispatcher) = settings::for_completion()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let read =
        async { tokio::time::timeout(PATIENCE, dispatcher.records(filter.limit(MOST))).await };
    let records = runtime.block_on(read).ok()?.ok();
    runtime.shutdown_background();
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_completed_before_its_value() {
        let keys = [
            ("job.timeout".to_owned(), Vec::new()),
            (
                "job.docker.imagePullPolicy".to_owned(),
                vec!["Always".to_owned(), "Never".to_owned()],
            ),
        ];
        let complete = |current: &str| setting(current, &keys);
        assert_eq!(complete("job.t"), ["job.timeout="]);
        assert_eq!(complete(""), ["job.timeout=", "job.docker.imagePullPolicy="]);
        assert_eq!(complete("job.docker.imagePullPolicy=A"), ["job.docker.imagePullPolicy=Always"]);
        assert!(complete("job.timeout=1").is_empty());
        assert!(complete("job.x").is_empty());
    }

    #[test]
    fn the_keys_of_the_configuration_have_their_choices() {
        let keys = keys_with_choices::<Config>();
        let choices = |key: &str| keys.iter().find(|(it, _)| it == key).map(|it| it.1.clone());
        let profiles = choices("job.securityProfile").unwrap();
        assert!(profiles.contains(&"restricted".to_owned()), "{profiles:?}");
        assert_eq!(choices("job.timeout"), Some(Vec::new()));
        assert_eq!(choices("job.keepJobFolder").unwrap(), ["true", "false"]);
    }
}

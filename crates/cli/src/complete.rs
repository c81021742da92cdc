//! What a shell offers when a person completes a command line.
//!
//! Nothing can be reported here: what cannot be found is not offered.

use std::time::Duration;

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use longshore::job::Signal;
use longshore::journal::{Filter, Record, State};

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

/// Completes a signal.
pub fn signals() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        Signal::all().map(|signal| CompletionCandidate::new(signal.name())).collect()
    })
}

/// Completes a condition of `ps --filter`.
pub fn filters() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let states = State::ALL.map(|state| format!("state={}", state.name()));
        let others = ["name=", "runner=", "label="].map(str::to_owned);
        states.into_iter().chain(others).map(CompletionCandidate::new).collect()
    })
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

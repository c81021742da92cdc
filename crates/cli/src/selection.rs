//! Chooses recorded jobs.

use longshore::journal::{Filter, Record, State};
use longshore::{Dispatcher, ErrorKind};

use crate::error::CliError;
use crate::output;

/// The maximum number of jobs that are considered; there may be very many records.
const MOST: u32 = 10_000;

/// Returns the record of the job that `text` names: by its ID or the beginning of the ID, else the
/// newest job of that name.
///
/// # Errors
/// If `text` names no job or is the beginning of several IDs; the message lists the candidates.
pub async fn record(dispatcher: &Dispatcher, text: &str) -> Result<Record, CliError> {
    let mut found = dispatcher.record(text).await;
    if found.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        adopt_unrecorded(dispatcher).await?;
        found = dispatcher.record(text).await;
    }
    let error = match found {
        Ok(record) => return Ok(record),
        Err(error) => error,
    };
    if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidSpec) {
        return Err(error.into());
    }
    let named = dispatcher.records(Filter::default().name(text).limit(1)).await?;
    named.into_iter().next().ok_or_else(|| error.into())
}

/// Returns the records of the jobs that have not ended.
pub async fn open(dispatcher: &Dispatcher) -> Result<Vec<Record>, CliError> {
    newest(dispatcher, Filter::default().not_ended().limit(MOST), "considered").await
}

/// Records the jobs that are on runners without a record, if the journal is new and replaces a lost
/// one.
async fn adopt_unrecorded(dispatcher: &Dispatcher) -> Result<(), CliError> {
    if !dispatcher.is_incomplete().await? {
        return Ok(());
    }
    let adopted = dispatcher.adopt().await?;
    for left in &adopted.leftovers {
        output::warn(&format!("{} {}: {}", left.runner, left.attempt, left.why));
    }
    for (runner, why) in &adopted.unasked {
        output::warn(&format!(
            "an earlier journal was lost, and {runner} may have jobs of it that are not recorded \
             yet: {why}"
        ));
    }
    Ok(())
}

/// Returns the newest records of `filter`, newest first, at most as many as its limit. Warns if there
/// may be more than can be considered, which are then not `used`.
pub async fn newest(
    dispatcher: &Dispatcher,
    filter: Filter,
    used: &str,
) -> Result<Vec<Record>, CliError> {
    adopt_unrecorded(dispatcher).await?;
    let limit = filter.limit.min(MOST);
    let records = dispatcher.records(filter.limit(limit)).await?;
    if records.len() >= MOST as usize {
        output::warn(&format!("only the newest {MOST} jobs are {used}"));
    }
    Ok(records)
}

/// A condition on a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobFilter {
    Name(String),
    State(String),
    Runner(String),
    Label(String, Option<String>),
}

impl JobFilter {
    /// Parses `KEY=VALUE`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let value = value.to_owned();
        match key {
            "name" => Ok(Self::Name(value)),
            "runner" => Ok(Self::Runner(value)),
            "state" | "status" => {
                let known = State::ALL.map(State::name);
                let known_as = known.iter().find(|state| state.eq_ignore_ascii_case(&value));
                let known_as = known_as.ok_or_else(|| format!("use one of {}", known.join(", ")));
                Ok(Self::State((*known_as?).to_owned()))
            }
            "label" => Ok(match value.split_once('=') {
                Some((label, value)) => Self::Label(label.to_owned(), Some(value.to_owned())),
                None => Self::Label(value, None),
            }),
            _ => Err("filter by name, state, runner or label".to_owned()),
        }
    }

    /// Adds the condition to `filter`. Returns false if the journal cannot decide it: it may not know
    /// a job's state yet, and has no order of the labels of one key.
    pub fn narrow(&self, filter: &mut Filter) -> bool {
        match self {
            Self::Name(name) => filter.name = Some(name.clone()),
            Self::Runner(runner) => match runner.parse() {
                Ok(runner) => filter.runner = Some(runner),
                Err(_) => return false,
            },
            Self::Label(key, Some(value)) => filter.labels.push((key.clone(), value.clone())),
            Self::Label(_, None) | Self::State(_) => return false,
        }
        true
    }

    /// Whether the job satisfies the condition.
    pub fn matches(&self, record: &Record) -> bool {
        match self {
            Self::Name(name) => record.spec.name.as_ref() == Some(name),
            Self::State(state) => record.state().name() == state,
            Self::Runner(runner) => {
                record.committed().is_some_and(|it| it.handle.runner.as_str() == runner)
            }
            Self::Label(label, value) => record
                .spec
                .labels
                .get(label)
                .is_some_and(|found| value.as_ref().is_none_or(|value| value == found)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_as_docker_writes_it() {
        let label = |key: &str, value: Option<&str>| {
            JobFilter::Label(key.to_owned(), value.map(str::to_owned))
        };
        assert_eq!(JobFilter::parse("label=a"), Ok(label("a", None)));
        assert_eq!(JobFilter::parse("label=a=b=c"), Ok(label("a", Some("b=c"))));
        assert_eq!(JobFilter::parse("status=running"), Ok(JobFilter::State("Running".to_owned())));
        assert!(JobFilter::parse("state=exited").unwrap_err().contains("Ended"));
        assert!(JobFilter::parse("ancestor=x").unwrap_err().contains("runner"));
    }
}

//! Jobs as `ps` and `wait` list them.

use std::fmt::Write;

use jiff::Timestamp;
use longshore::job::{AttemptId, ImageReport, PassedOver};
use longshore::journal::{AttemptState, Record, State};
use longshore::runner::RunnerName;
use longshore::{JobId, JobResult, Outcome};
use serde::Serialize;

use crate::template::{Field, Part};

/// A job: the keys of its result, as `run --result` writes them, and its state. Unknown values are
/// null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    job: JobId,
    attempt: Option<AttemptId>,
    runner: Option<RunnerName>,
    state: &'static str,
    outcome: Option<Outcome>,
    image: Option<ImageReport>,
    separate_streams: Option<bool>,
    passed_over: Vec<PassedOver>,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    started_again: Vec<String>,
    stdin_error: Option<String>,
}

impl Listed {
    /// Creates the entry of a job that has ended.
    pub fn ended(result: JobResult) -> Self {
        Self {
            job: result.job,
            attempt: result.attempt,
            runner: result.runner,
            state: State::Ended.name(),
            outcome: Some(result.outcome),
            image: result.image,
            separate_streams: result.separate_streams,
            passed_over: result.passed_over,
            started_at: result.started_at,
            finished_at: result.finished_at,
            started_again: result.started_again,
            stdin_error: result.stdin_error,
        }
    }

    fn going_on(record: &Record) -> Self {
        let (started_at, image) = match record.attempts.last().map(|attempt| &attempt.state) {
            Some(AttemptState::Started { started_at, image }) => (*started_at, image.clone()),
            _ => (None, None),
        };
        Self {
            job: record.id.clone(),
            attempt: record.attempts.last().map(|attempt| attempt.handle.attempt.clone()),
            runner: record.committed().map(|attempt| attempt.handle.runner.clone()),
            state: record.state().name(),
            outcome: None,
            image,
            separate_streams: None,
            passed_over: record.passed_over.clone(),
            started_at,
            finished_at: None,
            started_again: Vec::new(),
            stdin_error: None,
        }
    }
}

impl From<&Record> for Listed {
    fn from(record: &Record) -> Self {
        match &record.result {
            Some(result) => Self::ended(result.clone()),
            None => Self::going_on(record),
        }
    }
}

/// The most characters of a job's name or command that the table shows.
const LONGEST_NAME: usize = 40;
/// The columns of the table.
const COLUMNS: [&str; 7] = ["ID", "NAME", "RUNNER", "STATE", "AGE", "OUTCOME", "COMMAND"];

/// Formats `records` as a table at the time `now`, for people.
pub fn table(records: &[Record], now: Timestamp) -> String {
    let head = COLUMNS.map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head).chain(records.iter().map(|it| row(it, now))).collect();
    aligned(&rows)
}

fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn row(record: &Record, now: Timestamp) -> [String; COLUMNS.len()] {
    let listed = Listed::from(record);
    let none = || "-".to_owned();
    [
        record.id.to_string(),
        record.spec.name.as_deref().map_or_else(none, shortened),
        listed.runner.map_or_else(none, |runner| runner.to_string()),
        listed.state.to_owned(),
        age(now.duration_since(record.submitted_at).as_secs()),
        listed.outcome.map_or_else(none, |outcome| in_short(&outcome)),
        shortened(&command(record)),
    ]
}

/// Formats the fields of `parts` for a job at the time `now`.
pub fn line(parts: &[Part], record: &Record, now: Timestamp) -> String {
    let text = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Field(field) => value(*field, record, now),
    };
    parts.iter().map(text).collect::<String>() + "\n"
}

fn value(field: Field, record: &Record, now: Timestamp) -> String {
    let spec = &record.spec;
    let listed = Listed::from(record);
    match field {
        Field::Id => record.id.to_string(),
        Field::Name => spec.name.clone().unwrap_or_default(),
        Field::Command => command(record),
        Field::Image => spec.container.as_ref().map(|it| it.image.to_string()).unwrap_or_default(),
        Field::Runner => listed.runner.map(|runner| runner.to_string()).unwrap_or_default(),
        Field::State => listed.state.to_owned(),
        Field::Age => age(now.duration_since(record.submitted_at).as_secs()),
        Field::Outcome => listed.outcome.as_ref().map(in_short).unwrap_or_default(),
        Field::Submitted => record.submitted_at.to_string(),
        Field::Labels => {
            let label = |(key, value): (&String, &String)| format!("{key}={value}");
            spec.labels.iter().map(label).collect::<Vec<_>>().join(",")
        }
    }
}

/// Returns the command that the job runs, as a shell would write it, or else its image: on its runner,
/// or on the first one if it has not been launched.
fn command(record: &Record) -> String {
    let spec = &record.spec;
    let local = record.committed().is_some_and(|it| it.handle.runner == RunnerName::process());
    match (&spec.container, &spec.process) {
        (Some(container), process) if !local || process.is_none() => {
            let words = shell_words::join(container.command.iter().chain(&container.args));
            if words.is_empty() { container.image.to_string() } else { words }
        }
        (_, Some(process)) => shell_words::join(process.command.iter().chain(&process.args)),
        (_, None) => String::new(),
    }
}

/// Returns the state, name and command of a job in one short line.
pub fn in_one_line(record: &Record) -> String {
    let name = record.spec.name.as_deref().map(|name| format!("{}: ", shortened(name)));
    let (state, name) = (record.state().name(), name.unwrap_or_default());
    format!("{state}, {name}{}", shortened(&command(record)))
}

/// Returns the beginning of a job's name or command in one line and without terminal control sequences.
fn shortened(name: &str) -> String {
    let mut shown: String = name
        .chars()
        .take(LONGEST_NAME)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if name.chars().nth(LONGEST_NAME).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

fn age(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{}s", seconds.max(0)),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        172_800.. => format!("{}d", seconds / 86_400),
    }
}

fn in_short(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code, .. } => format!("Exited {code}"),
        outcome => outcome.kind().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn result() -> JobResult {
        let mut result =
            JobResult::new("j1".parse().unwrap(), Outcome::Exited { code: 3, signal: None });
        result.attempt = Some("j1-1".parse().unwrap());
        result.runner = Some("docker".parse().unwrap());
        result
    }

    #[test]
    fn a_listed_job_has_the_keys_of_a_result_and_its_state() {
        let mut expected = serde_json::to_value(result()).unwrap();
        expected["state"] = json!("Ended");
        assert_eq!(serde_json::to_value(Listed::ended(result())).unwrap(), expected);
    }

    #[test]
    fn what_is_not_known_is_null() {
        let mut listed = Listed::ended(result());
        listed.outcome = None;
        let listed: Value = serde_json::to_value([listed]).unwrap();
        assert_eq!(listed[0]["outcome"], Value::Null);
        assert_eq!(listed[0].get("image"), Some(&Value::Null));
        assert_eq!(serde_json::to_value::<[Listed; 0]>([]).unwrap(), json!([]));
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let cells = |cells: [&str; 6]| cells.map(str::to_owned);
        let rows = [
            cells(["ID", "NAME", "RUNNER", "STATE", "AGE", "OUTCOME"]),
            cells(["abcdef", "-", "kubernetes", "Ended", "3s", "Exited 0"]),
        ];
        assert_eq!(
            aligned(&rows),
            "ID      NAME  RUNNER      STATE  AGE  OUTCOME\n\
             abcdef  -     kubernetes  Ended  3s   Exited 0\n"
        );
    }

    #[test]
    fn an_age_is_told_in_the_unit_that_fits() {
        let ages = [-3, 0, 59, 60, 3599, 3600, 172_799, 172_800].map(age);
        assert_eq!(ages, ["0s", "0s", "59s", "1m", "59m", "1h", "47h", "2d"]);
    }

    #[test]
    fn a_name_of_65534_characters_is_shortened_and_panics_nothing() {
        let name = "n".repeat(65_534);
        assert_eq!(shortened(&name), "n".repeat(39) + "…");
        assert_eq!(shortened(&name[..40]), &name[..40]);
        let cells = ["id", &shortened(&name), "-", "-", "-", "-"].map(str::to_owned);
        assert!(aligned(&[cells]).len() < 100);
    }

    #[test]
    fn a_name_cannot_write_to_the_terminal() {
        assert_eq!(shortened("a\u{1b}[31m\nb"), "a\u{fffd}[31m\u{fffd}b");
    }
}

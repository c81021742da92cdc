//! `longshore inspect`.

use longshore::journal::Record;
use serde::Serialize;

use crate::args::SomeJobs;
use crate::error::CliError;
use crate::{jobs, output, settings};

/// A record with the state of its job.
#[derive(Serialize)]
struct Inspected<'a> {
    state: &'static str,
    #[serde(flatten)]
    record: &'a Record,
}

impl<'a> Inspected<'a> {
    fn new(record: &'a Record) -> Self {
        Self { state: record.state().name(), record }
    }
}

/// Prints the whole record of a job, as one JSON object, or an array of several.
pub async fn inspect(args: &SomeJobs) -> Result<u8, CliError> {
    let dispatcher = settings::of_recorded(&args.config)?;
    let mut records = Vec::new();
    for name in &args.jobs {
        records.push(jobs::find(&dispatcher, name).await?);
    }
    match records.as_slice() {
        [record] => output::print_json(&Inspected::new(record)),
        records => print_all(records),
    }
}

/// Prints the whole records of jobs, as a JSON array.
pub fn print_all(records: &[Record]) -> Result<u8, CliError> {
    output::print_json(&records.iter().map(Inspected::new).collect::<Vec<_>>())
}

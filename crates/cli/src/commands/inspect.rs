//! `longshore inspect`.

use longshore::Record;
use serde::Serialize;

use crate::args::OneJob;
use crate::error::CliError;
use crate::{jobs, output, settings};

/// A record with the state of its job.
#[derive(Serialize)]
struct Inspected<'a> {
    state: &'static str,
    #[serde(flatten)]
    record: &'a Record,
}

/// Prints the whole record of a job, as one JSON object.
pub async fn inspect(args: &OneJob) -> Result<u8, CliError> {
    let dispatcher = settings::of_recorded(&args.config)?;
    let record = jobs::find(&dispatcher, &args.id).await?;
    let inspected = Inspected { state: record.state().name(), record: &record };
    output::print_json(&inspected)
}

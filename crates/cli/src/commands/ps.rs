//! `longshore ps`.

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use longshore::{Dispatcher, ErrorKind, Filter, Record};

use crate::args::{ListFormat, PsArgs};
use crate::error::CliError;
use crate::listing::{self, Listed};
use crate::{output, settings};

/// The maximum number of listed jobs; there may be very many records.
const LISTED: u32 = 10_000;
/// How many jobs are checked concurrently.
const LOOKS: usize = 16;

/// Prints the jobs that have not ended, or all recorded jobs.
pub async fn ps(args: &PsArgs) -> Result<u8, CliError> {
    let dispatcher = settings::of_recorded(&args.config)?;
    let filter = Filter::default().limit(LISTED);
    let filter = if args.all { filter } else { filter.not_ended() };
    let records = dispatcher.records(filter).await?;
    if records.len() >= LISTED as usize {
        output::warn(&format!("only the newest {LISTED} jobs are listed"));
    }
    let looks = stream::iter(records).map(|record| as_it_is_now(&dispatcher, record));
    let records: Vec<Option<Record>> = looks.buffered(LOOKS).try_collect().await?;
    let wanted = |record: &Record| args.all || record.result.is_none();
    let records: Vec<Record> = records.into_iter().flatten().filter(wanted).collect();
    match args.output {
        ListFormat::Table => output::print(&listing::table(&records, Timestamp::now())),
        ListFormat::Json => {
            output::print_json(&records.iter().map(Listed::from).collect::<Vec<_>>())
        }
    }
}

/// Returns the current record of a job. Asks its runner if no process owns the job. Returns `None`
/// if the record was deleted meanwhile.
async fn as_it_is_now(dispatcher: &Dispatcher, record: Record) -> Result<Option<Record>, CliError> {
    if record.result.is_some() {
        return Ok(Some(record));
    }
    match dispatcher.look(&record.id).await {
        Ok(record) => Ok(Some(record)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

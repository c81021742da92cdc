//! `longshore ps`.

use std::future::ready;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use longshore::journal::{Filter, Record};
use longshore::{Dispatcher, ErrorKind};

use crate::args::{ListFormat, PsArgs};
use crate::commands::inspect;
use crate::error::CliError;
use crate::listing::{self, Listed};
use crate::selection::{self, JobFilter};
use crate::template::Template;
use crate::{output, settings};

/// How many jobs are checked concurrently.
const LOOKS: usize = 16;

/// Prints the jobs that have not ended, or all recorded jobs.
pub async fn ps(args: &PsArgs) -> Result<u8, CliError> {
    let dispatcher = settings::of_recorded(&args.config)?;
    let records = current(&dispatcher, args).await?;
    let now = Timestamp::now();
    match (&args.format, args.output) {
        (Some(Template::Json), _) => inspect::print_all(&records),
        (Some(Template::Line(parts)), _) => {
            let lines = records.iter().map(|record| listing::line(parts, record, now));
            output::print(&lines.collect::<String>())
        }
        (None, _) if args.quiet => output::print(
            &records.iter().map(|record| format!("{}\n", record.id)).collect::<String>(),
        ),
        (None, ListFormat::Table) => output::print(&listing::table(&records, now)),
        (None, ListFormat::Json) => {
            output::print_json(&records.iter().map(Listed::from).collect::<Vec<_>>())
        }
    }
}

/// Returns the records to list, as they are now, newest first.
async fn current(dispatcher: &Dispatcher, args: &PsArgs) -> Result<Vec<Record>, CliError> {
    let all = args.all || args.last.is_some() || args.filter.iter().any(is_about_ended);
    let mut filter = Filter::default().limit(u32::MAX);
    filter.ended = all;
    let mut decided = true;
    for condition in &args.filter {
        decided &= condition.narrow(&mut filter);
    }
    if let Some(last) = args.last.filter(|_| decided) {
        filter.limit = u32::try_from(last).unwrap_or(u32::MAX);
    }
    let records = selection::newest(dispatcher, filter, "listed").await?;
    let wanted = |record: &Record| {
        (all || record.result.is_none()) && args.filter.iter().all(|filter| filter.matches(record))
    };
    let looks =
        stream::iter(records).map(|record| as_it_is_now(dispatcher, record)).buffered(LOOKS);
    // With --last, the looks end soon after the last job that is wanted.
    let found = looks.try_filter_map(|record| ready(Ok(record.filter(wanted))));
    found.take(args.last.unwrap_or(usize::MAX)).try_collect().await
}

/// Whether `filter` asks for jobs that have ended.
fn is_about_ended(filter: &JobFilter) -> bool {
    *filter == JobFilter::State("Ended".to_owned())
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

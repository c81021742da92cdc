//! `longshore wait`.

use futures::future::{join_all, select_all};
use longshore::journal::Record;
use longshore::{Dispatcher, JobResult};

use crate::args::WaitArgs;
use crate::error::{COULD_NOT_RUN, CliError};
use crate::listing::Listed;
use crate::signals::Interruption;
use crate::{follower, jobs, output, selection, settings, summary};

/// Waits for jobs to end. The exit code is the job's own, as for `run`; with several jobs, that of the
/// first one that is not 0.
pub async fn wait(args: &WaitArgs) -> Result<u8, CliError> {
    if args.left_behind {
        return follower::follow(args).await;
    }
    let dispatcher = settings::of_recorded(&args.open.config)?;
    let records = records(&dispatcher, args).await?;
    let mut interruption = Interruption::watch()?;
    let results = tokio::select! {
        biased;
        code = interruption.seen() => {
            for record in &records {
                output::say(&format!("job {} still runs", record.id));
            }
            return Ok(code);
        }
        results = ends(&dispatcher, &records, args.any) => results,
    };
    let codes = results.iter().map(|it| it.as_ref().map_or(COULD_NOT_RUN, summary::exit_code));
    let code = codes.into_iter().find(|code| *code != 0).unwrap_or(0);
    if args.output.is_some() {
        let ended: Vec<_> = results.into_iter().flatten().map(Listed::ended).collect();
        output::print_json(&ended)?;
    }
    Ok(code)
}

async fn records(dispatcher: &Dispatcher, args: &WaitArgs) -> Result<Vec<Record>, CliError> {
    if args.open.all {
        return selection::open(dispatcher).await;
    }
    let mut records = Vec::new();
    for name in &args.open.jobs {
        records.push(selection::record(dispatcher, name).await?);
    }
    Ok(records)
}

/// Waits for all of the jobs, or for `any` of them.
async fn ends(dispatcher: &Dispatcher, jobs: &[Record], any: bool) -> Vec<Option<JobResult>> {
    let ends = jobs.iter().map(|record| Box::pin(end_of(dispatcher, record)));
    if any && !jobs.is_empty() {
        let (first, _, _) = select_all(ends).await;
        return vec![first];
    }
    join_all(ends).await
}

/// Waits for a job's end and reports it. Returns `None` if the job cannot be followed.
async fn end_of(dispatcher: &Dispatcher, record: &Record) -> Option<JobResult> {
    match jobs::end_of(dispatcher, record).await {
        Ok(result) => {
            summary::say(&result, summary::seconds_run(&result), false);
            Some(result)
        }
        Err(error) => {
            output::complain(&error);
            None
        }
    }
}

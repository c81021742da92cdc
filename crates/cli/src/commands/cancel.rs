//! `longshore cancel`.

use longshore::{HumanDuration, JobResult};

use crate::args::CancelArgs;
use crate::error::CliError;
use crate::signals::Interruption;
use crate::{jobs, output, settings, summary};

/// Cancels a job and waits for it to end.
pub async fn cancel(args: &CancelArgs) -> Result<u8, CliError> {
    let dispatcher = settings::of_recorded(&args.job.config)?;
    let record = jobs::find(&dispatcher, &args.job.id).await?;
    if let Some(result) = &record.result {
        return Ok(ended_before(result));
    }
    let mut interruption = Interruption::watch()?;
    let grace = args.grace.map(HumanDuration::get);
    let noted = dispatcher.cancel(&record.id, grace).await?;
    let grace = grace.unwrap_or_else(|| record.spec.effective_grace_period().get());
    let result = tokio::select! {
        biased;
        code = interruption.seen() => {
            output::say(&format!("job {} was asked to end; not waiting for it", record.id));
            return Ok(code);
        }
        result = jobs::end_of_cancelled(&dispatcher, &record, grace) => result?,
    };
    if !noted {
        return Ok(ended_before(&result));
    }
    summary::say(&result, summary::seconds_run(&result), false);
    Ok(0)
}

fn ended_before(result: &JobResult) -> u8 {
    output::say(&format!("the job had already ended: it {}", result.outcome));
    0
}

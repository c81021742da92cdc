//! `longshore wait`.

use crate::args::WaitArgs;
use crate::error::CliError;
use crate::listing::Listed;
use crate::signals::Interruption;
use crate::{follower, jobs, output, settings, summary};

/// Waits for a job to end. The exit code is the job's own, as for `run`.
pub async fn wait(args: &WaitArgs) -> Result<u8, CliError> {
    if args.left_behind {
        return follower::follow(args).await;
    }
    let dispatcher = settings::of_recorded(&args.job.config)?;
    let record = dispatcher.record(&args.job.id).await?;
    let mut interruption = Interruption::watch()?;
    let result = tokio::select! {
        biased;
        code = interruption.seen() => {
            output::say(&format!("job {} still runs", record.id));
            return Ok(code);
        }
        result = jobs::end_of(&dispatcher, &record) => result?,
    };
    summary::say(&result, summary::seconds_run(&result), false);
    let code = summary::exit_code(&result);
    if args.output.is_some() {
        output::print_json(&[Listed::ended(result)])?;
    }
    Ok(code)
}

//! What is left of jobs on the runners, in words for a person.

use longshore::dispatch::{Fate, Leftover, Reaped};
use longshore::{Config, Dispatcher};

use crate::output;

/// Removes what other commands of the configured installation have left, if they share one. Reports
/// what it did, unless `quiet`. A failure is a warning: the job of this command does not depend on it.
pub async fn remove_abandoned(dispatcher: &Dispatcher, config: &Config, quiet: bool) {
    if config.job.installation.is_none() {
        return;
    }
    match dispatcher.remove_abandoned().await {
        Ok(reaped) => {
            warn_of_unasked(&reaped);
            for left in reaped.leftovers.iter().filter(|_| !quiet) {
                output::say(&describe(left));
            }
        }
        Err(error) => output::warn(&format!("failed to look for abandoned jobs: {error}")),
    }
}

/// Warns of the runners that could not be queried.
pub fn warn_of_unasked(reaped: &Reaped) {
    for (runner, why) in &reaped.unasked {
        output::warn(&format!("{runner} could not be queried: {why}"));
    }
}

/// Returns one line about what is left.
pub fn describe(left: &Leftover) -> String {
    let fate = match &left.fate {
        Fate::Remove => "would be removed".to_owned(),
        Fate::Removed => "removed".to_owned(),
        Fate::Adopted => "adopted".to_owned(),
        Fate::Kept => "kept".to_owned(),
        Fate::Failed(why) => format!("failed to remove it: {why}"),
        _ => "not known".to_owned(),
    };
    format!("{} {}: {}: {fate}", left.runner, left.attempt, left.why)
}

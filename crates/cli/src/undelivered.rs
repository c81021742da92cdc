//! What the submitter of a job cannot pass on.

use longshore::{Dispatcher, JobId};

/// Records what could not be passed on. It has been reported, so a failure is only logged.
pub async fn note(dispatcher: &Dispatcher, job: &JobId, undelivered: &[String]) {
    for message in undelivered {
        if let Err(error) = dispatcher.note_undelivered(job, message).await {
            tracing::warn!(%job, %error, "failed to record what could not be written");
        }
    }
}

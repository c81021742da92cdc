//! Helpers that the tests share.
#![expect(clippy::unwrap_used, reason = "only tests call this")]

use std::path::Path;
use std::sync::Arc;

use longshore_core::{
    Handle, InstallationId, JobId, JobResult, JobSpec, Outcome, PullPolicy, RunnerName,
};
use longshore_journal::{Claim, Journal, NewAttempt, NewJob, Options, Submitted};
use tempfile::TempDir;

pub async fn open(path: &Path) -> Journal {
    Journal::open(path, Options::default()).await.expect("the journal opens")
}

/// A journal on each store, with the folder of its files.
pub async fn on_each_store() -> [(Journal, Option<TempDir>); 2] {
    let folder = tempfile::tempdir().unwrap();
    let in_a_file = open(folder.path()).await;
    [(Journal::in_memory().unwrap(), None), (in_a_file, Some(folder))]
}

pub fn job() -> NewJob {
    let installation: InstallationId = "tests".parse().unwrap();
    NewJob::new(installation, Arc::new(JobSpec::process(["true"])))
}

pub async fn submit(journal: &Journal, job: NewJob) -> Claim {
    match journal.submit(job).await.expect("it is recorded") {
        Submitted::New(claim) => claim,
        other => panic!("not new: {other:?}"),
    }
}

pub fn attempt(job: &JobId, number: u32) -> NewAttempt {
    let handle = Handle::new(
        RunnerName::docker(),
        1,
        job.attempt(number),
        serde_json::json!({"container": format!("longshore-{job}-{number}")}),
    );
    NewAttempt::new(number, handle, PullPolicy::Always)
}

pub fn exited(job: &JobId, code: i32) -> JobResult {
    JobResult::new(job.clone(), Outcome::Exited { code, signal: None })
}

/// Submits a job and records all its steps; nothing of it is left.
pub async fn finished(journal: &Journal) -> JobId {
    let claim = submit(journal, job()).await;
    claim.intent(attempt(claim.job(), 1)).await.unwrap();
    claim.started(1, None, None).await.unwrap();
    claim.outcome(&exited(claim.job(), 0)).await.unwrap();
    claim.removed().await.unwrap();
    claim.job().clone()
}

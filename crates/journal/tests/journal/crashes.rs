//! Tests of kill -9 in the middle of writes.
#![expect(clippy::unwrap_used, reason = "parts of tests are not marked as tests")]

use std::collections::HashMap;
use std::path::Path;

use longshore_core::JobId;
use longshore_journal::Record;

use crate::common::{attempt, exited, job, open, submit};
use crate::parts::{Part, say};

/// How many jobs are in progress at once.
const AT_ONCE: usize = 8;
const KILLS: usize = 50;

/// Part: runs jobs through all steps, and reports each step once it is on record, until killed.
pub async fn write(folder: &Path) {
    let journal = open(folder).await;
    let lanes = (0..AT_ONCE).map(async |_| {
        loop {
            let claim = submit(&journal, job()).await;
            let id = claim.job();
            say(&format!("submitted {id}"));
            claim.intent(attempt(id, 1)).await.unwrap();
            say(&format!("intent {id}"));
            claim.started(1, None, None).await.unwrap();
            say(&format!("started {id}"));
            claim.outcome(&exited(id, 5)).await.unwrap();
            say(&format!("outcome {id}"));
            claim.removed().await.unwrap();
            say(&format!("removed {id}"));
        }
    });
    futures::future::join_all(lanes).await;
}

/// Returns how far a job is, as a number that only grows.
fn reached(record: &Record) -> usize {
    use longshore_journal::AttemptState::{Ended, Intent, Started};
    let attempt = record.attempts.last().map(|attempt| &attempt.state);
    match (record.removed_at, &record.result, attempt) {
        (Some(_), Some(_), Some(Ended { .. })) => 4,
        (None, Some(_), Some(Ended { .. })) => 3,
        (None, None, Some(Started { .. })) => 2,
        (None, None, Some(Intent)) => 1,
        (None, None, None) => 0,
        _ => panic!("the record is inconsistent: {record:?}"),
    }
}

#[tokio::test]
async fn what_a_killed_process_was_told_is_on_record_is_and_the_file_is_whole() {
    const STEPS: [&str; 5] = ["submitted", "intent", "started", "outcome", "removed"];
    let folder = tempfile::tempdir().unwrap();
    for kill in 0..KILLS {
        let mut part = Part::play("write", folder.path());
        // The part is killed after a different number of steps each time, within the next steps.
        let mut said: Vec<_> = (0..=kill * 7).map(|_| part.line().expect("it runs")).collect();
        part.kill();
        said.extend(part.lines());
        drop(part);

        let mut told: HashMap<JobId, usize> = HashMap::new();
        for line in &said {
            // The last line may be cut short.
            let Some((step, id)) = line.split_once(' ').filter(|(_, id)| id.len() == 16) else {
                continue;
            };
            let step = STEPS.iter().position(|name| *name == step).expect("a step");
            told.insert(id.parse().unwrap(), step);
        }
        let journal = open(folder.path()).await;
        journal.check().await.unwrap();
        for (id, step) in &told {
            let reached = reached(&journal.record(id).await.expect("it is on record"));
            assert!(reached == *step || reached == step + 1, "kill {kill}: {id} at {step}");
        }
        for id in journal.unfinished().await.unwrap() {
            let claim = journal.claim(&id).await.unwrap().expect("its holder is dead");
            reached(&claim.record().await.unwrap());
            claim.outcome(&exited(&id, 5)).await.unwrap();
            claim.removed().await.unwrap();
        }
    }
}

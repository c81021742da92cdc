//! Delivery of a job's output to its reader.

use bytes::Bytes;
use futures::StreamExt;
use longshore_conformance::simulated::{Run, Script, What, Written};
use longshore_core::LogChunk;
use longshore_dispatch::{Job, Submission};
use tokio::time::{Instant, sleep};

use crate::support::*;

/// A job that writes `0`, `1`, ... one a second, and ends with the last.
fn writes(lines: u64) -> Script {
    let lasts = SECOND * u32::try_from(lines).unwrap();
    let output = (0..lines).map(|i| {
        let at = SECOND * u32::try_from(i).unwrap();
        Written::stdout(at, Bytes::from(format!("{i} ")))
    });
    let mut script = Script::default();
    script.runs.push_back(Run::exits(0, lasts).writing(output));
    script
}

fn whole(lines: u64) -> String {
    (0..lines).map(|i| format!("{i} ")).collect()
}

async fn submit(scene: &Scene) -> Job {
    scene.dispatcher.submit(job()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn output_comes_while_the_job_runs_and_whole() {
    let scene = scene([writes(100)]);
    let mut job = submit(&scene).await;
    let mut logs = job.take_logs().unwrap();
    let Some(LogChunk::Data { bytes, .. }) = logs.next().await else { panic!("no output") };
    assert_eq!(bytes.as_ref(), b"0 ");
    assert_eq!(scene.count(|w| matches!(w, What::Ended { .. })), 0);
    let (rest, gap) = read(logs).await;
    assert_eq!(format!("0 {rest}"), whole(100));
    assert!(!gap);
    assert!(job.end().await.outcome.is_success());
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_up_the_removal_and_not_the_outcome() {
    let scene = scene([writes(100)]);
    let mut job = submit(&scene).await;
    let logs = job.take_logs().unwrap();
    let began = Instant::now();
    assert!(job.result().await.unwrap().outcome.is_success());
    assert_eq!(began.elapsed(), 100 * SECOND);
    sleep(1000 * MINUTE).await;
    assert_eq!(scene.present(), 1, "removed before its output was read");
    assert_eq!(read(logs).await, (whole(100), false));
    job.end().await;
    assert_eq!(scene.present(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_leaves_lets_the_job_be_removed() {
    let scene = scene([writes(100)]);
    let mut job = submit(&scene).await;
    let mut logs = job.take_logs().unwrap();
    logs.next().await;
    drop(logs);
    let began = Instant::now();
    assert!(job.end().await.outcome.is_success());
    assert_eq!(began.elapsed(), 100 * SECOND);
    assert_eq!(scene.present(), 0);
}

#[tokio::test(start_paused = true)]
async fn output_that_nobody_took_is_dropped_by_wait() {
    let scene = scene([writes(100)]);
    assert!(submit(&scene).await.end().await.outcome.is_success());
    assert_eq!(scene.present(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_off_goes_on_where_it_broke() {
    let mut script = writes(100);
    script.log_breaks.extend([0, 1, 7, 0, 30]);
    let scene = scene([script]);
    let mut job = submit(&scene).await;
    assert_eq!(read(job.take_logs().unwrap()).await, (whole(100), false));
    job.end().await;
}

#[tokio::test(start_paused = true)]
async fn output_that_does_not_come_any_more_ends_with_a_gap() {
    let mut script = writes(100);
    script.log_breaks.push_back(10);
    script.log_breaks.extend([0; 1000]);
    let scene = scene([script]);
    let mut job = submit(&scene).await;
    let began = Instant::now();
    let (text, gap) = read(job.take_logs().unwrap()).await;
    assert_eq!((text, gap), (whole(10), true));
    assert!(began.elapsed() <= 135 * SECOND, "{:?}", began.elapsed());
    assert!(job.end().await.outcome.is_success());
    assert_eq!(scene.present(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_submission_without_logs_reads_none() {
    let mut script = writes(3);
    script.log_breaks.push_back(0);
    let scene = scene([script]);
    let submission = Submission::new(job()).without_logs();
    let mut job = scene.dispatcher.submit(submission).await.unwrap();
    assert!(job.take_logs().is_none());
    assert!(job.end().await.outcome.is_success());
    scene.runners[0].rewrite(|s| assert_eq!(s.log_breaks.len(), 1, "no stream was opened"));
}

//! Many jobs at once.

use std::sync::Arc;

use futures::future::try_join_all;
use longshore_core::Outcome;

use crate::bench::Bench;
use crate::case::cases;
use crate::failure::{Checked, same};

/// The slowest known backend starts about two jobs a second on a small machine.
const PATIENCE: u32 = 10;

cases! { "load":
    fifty_jobs_at_once_each_have_their_own_output_and_code x 25,
}

async fn fifty_jobs_at_once_each_have_their_own_output_and_code(bench: Arc<Bench>) -> Checked {
    try_join_all((0..50).map(|number| one(Arc::clone(&bench), number))).await?;
    Ok(())
}

async fn one(bench: Arc<Bench>, number: i32) -> Checked {
    let script = format!("echo begin {number}; sleep 1; echo end {number}; exit {number}");
    let attempt = bench.attempt(bench.fixture().job(&script));
    let finished = bench.launch_patiently(&attempt, PATIENCE).await?.finish().await?;
    let expected = format!("begin {number}\nend {number}\n");
    same(&format!("the output of job {number}"), &finished.output.text(), &expected)?;
    let expected = Outcome::Exited { code: number, signal: None };
    same(&format!("the outcome of job {number}"), &finished.report.outcome, &expected)
}

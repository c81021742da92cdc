//! `adopt`.

use std::sync::Arc;

use longshore_core::Outcome;

use super::adopted;
use crate::Failure;
use crate::bench::Bench;
use crate::case::cases;
use crate::failure::{Checked, check, same};

cases! { "adopt":
    it_finds_a_running_job_of_another_instance,
    it_finds_an_ended_job_until_it_is_removed,
    it_never_finds_another_installations_job,
    an_adopted_job_is_followed_to_its_true_end,
}

async fn it_finds_a_running_job_of_another_instance(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("sleep 600").await?;
    let found = adopted(&bench).await?;
    check(found.contains(run.handle()), || format!("{:?} is not among {found:?}", run.handle()))
}

async fn it_finds_an_ended_job_until_it_is_removed(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("exit 0").await?;
    run.end().await?;
    let found = adopted(&bench).await?;
    check(found.contains(run.handle()), || format!("the ended job is not among {found:?}"))?;
    bench.wait("remove to answer", run.runner.remove(run.handle())).await??;
    super::nothing_left_of(&bench, &run.attempt).await
}

async fn it_never_finds_another_installations_job(bench: Arc<Bench>) -> Checked {
    let other = bench.other_installation();
    let theirs = bench.attempt_of(other.clone(), bench.fixture().job("sleep 600"));
    let theirs = bench.launch(&theirs).await?;
    let ours = bench.start_script("sleep 600").await?;
    let found = adopted(&bench).await?;
    check(found.contains(ours.handle()), || format!("our own is not among {found:?}"))?;
    check(!found.contains(theirs.handle()), || "found another installation's job".to_owned())?;
    let found = bench.wait("adopt to answer", ours.runner.adopt(&other)).await??;
    same("what the other installation finds", &found, &vec![theirs.handle().clone()])
}

async fn an_adopted_job_is_followed_to_its_true_end(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("sleep 1; echo bye; exit 23").await?;
    let found = adopted(&bench).await?;
    let handle = found
        .into_iter()
        .find(|handle| handle.attempt == run.attempt.id)
        .ok_or_else(|| Failure::new("the job is not among the adopted"))?;
    let elsewhere = run.seen_by(bench.runner().await?).found_as(handle);
    let finished = elsewhere.finish().await?;
    same("the outcome", &finished.report.outcome, &Outcome::Exited { code: 23, signal: None })?;
    same("the output", &finished.output.text(), &"bye\n".to_owned())
}

//! `signal`.

use std::sync::Arc;

use longshore_core::{Capability, ErrorKind, Outcome, Signal};

use crate::bench::{Bench, Run};
use crate::case::Need::Can;
use crate::case::cases;
use crate::failure::{Checked, Failure, check, same};

cases! { "signal":
    it_reaches_the_main_process_which_handles_it [Can(Capability::Signals)],
    it_reaches_the_main_process_alone [Can(Capability::Signals)],
    a_job_that_it_ends_has_its_own_outcome [Can(Capability::Signals)],
    two_of_a_kind_are_handled_twice [Can(Capability::Signals)],
    a_cancel_after_it_counts [Can(Capability::Signals)],
    an_ended_job_takes_none [Can(Capability::Signals)],
}

fn signal(text: &str) -> Checked<Signal> {
    text.parse().map_err(Failure::new)
}

async fn send(bench: &Bench, job: &Run, text: &str) -> Checked {
    let sent = bench.wait("signal to answer", job.runner.signal(job.handle(), signal(text)?));
    sent.await?.map_err(|e| Failure::from(e).while_doing("failed to send the job a signal"))
}

async fn it_reaches_the_main_process_which_handles_it(bench: Arc<Bench>) -> Checked {
    let script = "trap 'echo got it; exit 7' USR1; echo ready; while :; do sleep 0.05; done";
    let job = bench.start_script(script).await?;
    job.says("ready").await?;
    // Another instance sends it.
    send(&bench, &job.seen_by(bench.runner().await?), "USR1").await?;
    let finished = job.finish().await?;
    same("the outcome", &finished.report.outcome, &Outcome::Exited { code: 7, signal: None })?;
    same("the output", &finished.output.text(), &"ready\ngot it\n".to_owned())
}

async fn it_reaches_the_main_process_alone(bench: Arc<Bench>) -> Checked {
    // The main process gives the other one time to show that it got the signal too.
    let script = "trap 'got=1' USR1; \
                  (trap 'echo child' USR1; trap 'echo asked; exit' USR2; echo ready; \
                   while :; do sleep 0.05; done) & \
                  while [ -z \"$got\" ]; do sleep 0.05; done; \
                  sleep 0.5; kill -USR2 $!; wait; exit 3";
    let job = bench.start_script(script).await?;
    job.says("ready").await?;
    send(&bench, &job, "USR1").await?;
    let finished = job.finish().await?;
    same("the outcome", &finished.report.outcome, &Outcome::Exited { code: 3, signal: None })?;
    same("the output", &finished.output.text(), &"ready\nasked\n".to_owned())
}

async fn a_job_that_it_ends_has_its_own_outcome(bench: Arc<Bench>) -> Checked {
    let job = bench.start_script("trap - TERM; echo ready; exec sleep 600").await?;
    job.says("ready").await?;
    send(&bench, &job, "TERM").await?;
    let signal = bench.can(Capability::SignalEvidence).then_some(Signal::TERM.number());
    same("the outcome", &job.end().await?.outcome, &Outcome::Exited { code: 143, signal })
}

async fn two_of_a_kind_are_handled_twice(bench: Arc<Bench>) -> Checked {
    let script = "n=0; trap 'n=$((n+1)); echo got $n' HUP; echo ready; \
                  while [ $n -lt 2 ]; do sleep 0.05; done";
    let job = bench.start_script(script).await?;
    job.says("ready").await?;
    send(&bench, &job, "HUP").await?;
    job.says("got 1").await?;
    send(&bench, &job, "HUP").await?;
    let finished = job.finish().await?;
    same("the outcome", &finished.report.outcome, &Outcome::Exited { code: 0, signal: None })
}

async fn a_cancel_after_it_counts(bench: Arc<Bench>) -> Checked {
    let job = bench.start_script("trap '' HUP; echo ready; while :; do sleep 0.05; done").await?;
    job.says("ready").await?;
    send(&bench, &job, "HUP").await?;
    let grace = bench.patience();
    bench.wait("cancel to answer", job.runner.cancel(job.handle(), grace)).await??;
    let outcome = job.end().await?.outcome;
    check(matches!(outcome, Outcome::Cancelled { .. }), || format!("it ended as {outcome:?}"))
}

async fn an_ended_job_takes_none(bench: Arc<Bench>) -> Checked {
    let job = bench.start_script("exit 0").await?;
    job.end().await?;
    let sent =
        bench.wait("signal to answer", job.runner.signal(job.handle(), Signal::TERM)).await?;
    let kind = sent.as_ref().map_err(longshore_core::Error::kind).err();
    same("the refusal", &kind, &Some(ErrorKind::NotFound))?;
    same("the outcome", &job.end().await?.outcome, &Outcome::Exited { code: 0, signal: None })
}

//! What one process learns about a runner whose server does not answer, for the next process.

use std::future::pending;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use longshore_conformance::simulated::{ProbeStep, Refusal, Script, SimulatedRunner, World};
use longshore_conformance::{Forward, Forwarding};
use longshore_core::{ErrorKind, JobResult, Runner};
use longshore_dispatch::Dispatcher;
use longshore_journal::{Access, Journal, Outage};
use tokio::time::Instant;

use crate::support::*;

/// What happens to a job in a process of its own.
struct Ran {
    result: JobResult,
    probed: bool,
}

/// Runs a job in a new process with `journal`, whose runners `first` and `second` follow `scripts`.
async fn run<const N: usize>(journal: &Journal, scripts: [Script; N]) -> Ran {
    let world = World::new();
    let runners: Vec<_> = ["first", "second"]
        .into_iter()
        .zip(scripts)
        .map(|(text, script)| world.runner(name(text), script))
        .collect();
    let mut builder = Dispatcher::builder().journal(journal.clone()).jitter_seed(1);
    for runner in &runners {
        builder = builder.runner(Arc::new(runner.clone()));
    }
    let dispatcher = builder.build().unwrap();
    let job = dispatcher.submit(job()).await.unwrap();
    let result = job.end().await;
    let probed = dispatcher.runner_status()[0].last_probe.is_some();
    dispatcher.shutdown().await;
    Ran { result, probed }
}

fn at(server: &str) -> Script {
    Script { server: Some(server.to_owned()), ..Script::default() }
}

fn black_hole(server: &str) -> Script {
    Script { probes: [ProbeStep::Hang; 20].into(), ..at(server) }
}

/// Puts an outage of the server `a` on record, which ended `ago`.
async fn outage(journal: &Journal, ago: SignedDuration) {
    let until = Timestamp::now() - ago;
    let since = until - SignedDuration::from_secs(30);
    let (server, message) = ("a".to_owned(), "no answer".to_owned());
    let outage = Outage { server, message, since, until };
    journal.record_outage(&name("first"), outage).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_one_process_waits_for_a_black_hole() {
    let journal = Journal::in_memory().unwrap();
    let ran = run(&journal, [black_hole("a"), Script::default()]).await;
    assert_eq!(ran.result.runner, Some(name("second")));
    assert!(ran.probed);
    for _ in 0..3 {
        let ran = run(&journal, [black_hole("a"), Script::default()]).await;
        assert_eq!(ran.result.runner, Some(name("second")));
        assert!(!ran.probed);
        let passed = &ran.result.passed_over[0];
        assert_eq!((&passed.runner, passed.kind.as_str()), (&name("first"), "Unavailable"));
        assert!(passed.message.contains("no answer within 5s"), "{passed:?}");
        assert!(passed.message.contains("s ago by another process"), "{passed:?}");
    }
}

/// A runner whose configuration is in a file that cannot be read to its end.
#[derive(Debug)]
struct Nameless(SimulatedRunner);

#[async_trait]
impl Forward for Nameless {
    fn inner(&self) -> &dyn Runner {
        &self.0
    }

    async fn server(&self) -> Option<String> {
        pending().await
    }

    async fn access(&self) -> Option<String> {
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_never_named_its_server_held_up_the_job() {
    for (first, runs_on, limit) in [("a black hole", "second", 8), ("well", "first", 4)] {
        let world = World::new();
        let script = if runs_on == "second" { black_hole("a") } else { Script::default() };
        let nameless = Forwarding(Nameless(world.runner(name("first"), script)));
        let second = world.runner(name("second"), Script::default());
        let builder = Dispatcher::builder().journal(Journal::in_memory().unwrap()).jitter_seed(1);
        let builder = builder.runner(Arc::new(nameless)).runner(Arc::new(second));
        let dispatcher = builder.build().unwrap();
        let began = Instant::now();
        let result = dispatcher.submit(job()).await.unwrap().end().await;
        assert_eq!(result.runner, Some(name(runs_on)), "{first}");
        assert!(began.elapsed() <= limit * SECOND, "{first}: {:?}", began.elapsed());
        dispatcher.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_no_other_runner_takes_asks_all_the_same() {
    let journal = Journal::in_memory().unwrap();
    outage(&journal, -SignedDuration::from_secs(20)).await;
    let ran = run(&journal, [at("a")]).await;
    assert_eq!(ran.result.runner, Some(name("first")));
    outage(&journal, -SignedDuration::from_secs(20)).await;
    let ran = run(&journal, [at("a"), refuses(ErrorKind::Saturated)]).await;
    assert_eq!(ran.result.runner, Some(name("first")));
    assert_eq!(journal.outage(&name("first")).await.unwrap(), None, "its server answers");
}

#[tokio::test(start_paused = true)]
async fn an_outage_holds_for_its_server_alone() {
    let journal = Journal::in_memory().unwrap();
    for other in [at("b"), Script::default()] {
        outage(&journal, -SignedDuration::from_secs(20)).await;
        let ran = run(&journal, [other, Script::default()]).await;
        assert_eq!(ran.result.runner, Some(name("first")));
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_one_process_asks_and_the_others_pass_over_meanwhile() {
    let journal = Journal::in_memory().unwrap();
    outage(&journal, SignedDuration::from_secs(5)).await;
    let (asked, passed) = tokio::join!(
        run(&journal, [black_hole("a"), Script::default()]),
        run(&journal, [black_hole("a"), Script::default()]),
    );
    let mut probed = [asked.probed, passed.probed];
    probed.sort_unstable();
    assert_eq!(probed, [false, true]);
    outage(&journal, SignedDuration::from_secs(5)).await;
    assert_eq!(run(&journal, [at("a"), at("b")]).await.result.runner, Some(name("first")));
    assert_eq!(run(&journal, [at("a"), at("b")]).await.result.runner, Some(name("first")));
}

#[tokio::test(start_paused = true)]
async fn a_fast_refusal_and_an_outage_of_the_past_or_the_future_are_asked_again() {
    let journal = Journal::in_memory().unwrap();
    let fast = ProbeStep::Fail(Refusal::new(ErrorKind::Unavailable));
    let refusing = Script { probes: [fast].into(), ..at("a") };
    let ran = run(&journal, [refusing, Script::default()]).await;
    assert_eq!(ran.result.runner, Some(name("second")));
    let ran = run(&journal, [at("a"), Script::default()]).await;
    assert_eq!(ran.result.runner, Some(name("first")));
    for ago in [SignedDuration::from_hours(1), -SignedDuration::from_hours(1)] {
        outage(&journal, ago).await;
        let ran = run(&journal, [at("a"), Script::default()]).await;
        assert_eq!(ran.result.runner, Some(name("first")), "{ago}");
    }
}

/// Each command asked the cluster anew.
#[tokio::test(start_paused = true)]
async fn a_runner_that_was_ready_is_not_asked_again_by_the_next_process() {
    let journal = Journal::in_memory().unwrap();
    let with = |access: &str| Script { access: Some(access.to_owned()), ..Script::default() };
    let probed = async |script: Script| run(&journal, [script]).await.probed;
    assert!(probed(with("a")).await);
    assert!(!probed(with("a")).await);
    assert!(probed(with("b")).await, "another access");
    assert!(!probed(with("b")).await);
    for ago in [SignedDuration::from_secs(31), -SignedDuration::from_hours(1)] {
        let access = Access { access: "b".to_owned(), since: Timestamp::now() - ago };
        journal.record_access(&name("first"), access).await.unwrap();
        assert!(probed(with("b")).await, "{ago}");
    }
    assert!(probed(Script::default()).await, "no access is known");
}

/// The next process would find it out only by a launch of its own.
#[tokio::test(start_paused = true)]
async fn a_launch_that_is_refused_makes_the_next_process_ask_again() {
    for kind in [ErrorKind::Unavailable, ErrorKind::Denied] {
        let journal = Journal::in_memory().unwrap();
        let with = |script: Script| Script { access: Some("a".to_owned()), ..script };
        assert!(run(&journal, [with(Script::default())]).await.probed);
        assert!(!run(&journal, [with(refuses(kind))]).await.probed);
        assert!(run(&journal, [with(Script::default())]).await.probed, "{kind:?}");
    }
}

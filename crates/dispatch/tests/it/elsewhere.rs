//! Runners whose backend is another one in the next process: another `DOCKER_HOST`, or another
//! context of a kubeconfig.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_conformance::simulated::{LaunchStep, Run, Script, SimulatedRunner, What, World};
use longshore_conformance::{Forward, Forwarding};
use longshore_core::{Error, ErrorKind, Handle, JobId, LogPosition, Runner, Target};
use longshore_dispatch::{Dispatcher, DispatcherBuilder, Fate, Submission};
use longshore_journal::Journal;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::recovering::{attached, exited, kill};
use crate::support::*;

fn on_target(target: &str, script: Script) -> Script {
    Script { target: Some(target.to_owned()), ..script }
}

/// Two servers that a runner's configuration may name, and a second runner, in one world.
struct Setup {
    world: World,
    here: SimulatedRunner,
    elsewhere: SimulatedRunner,
    second: SimulatedRunner,
    journal: Journal,
}

impl Setup {
    fn new(script: Script) -> Self {
        let world = World::new();
        Self {
            here: world.runner(name("first"), on_target("here", script)),
            elsewhere: world.runner(name("first"), on_target("elsewhere", Script::default())),
            second: world.runner(name("second"), Script::default()),
            journal: Journal::in_memory().unwrap(),
            world,
        }
    }

    fn dispatcher(&self, first: impl Runner) -> Dispatcher {
        let first: [Arc<dyn Runner>; 2] = [Arc::new(first), Arc::new(self.second.clone())];
        first
            .into_iter()
            .fold(builder::<SimulatedRunner>([]), DispatcherBuilder::runner)
            .installation("one".parse().unwrap())
            .journal(self.journal.clone())
            .build()
            .unwrap()
    }

    /// Creates a job whose dispatcher is killed after the job has begun on the first server.
    async fn orphan(&self) -> JobId {
        let dispatcher = self.dispatcher(self.here.clone());
        let submission = Submission::new(job()).relaunch_if_never_started();
        let id = dispatcher.submit(submission).await.unwrap().id().clone();
        sleep(20 * SECOND).await;
        kill(&dispatcher).await;
        assert_eq!(self.starts(), 1);
        id
    }

    fn starts(&self) -> usize {
        self.world.ledger().iter().filter(|entry| entry.what == What::Started).count()
    }
}

/// The first server of a configuration, on which a job ends with code 5 after an hour.
fn an_hour(step: Option<LaunchStep>) -> Script {
    let mut script = launches(step);
    script.runs.push_back(Run::exits(5, 60 * MINUTE));
    script
}

#[tokio::test(start_paused = true)]
async fn a_job_on_another_server_is_refused_at_once_with_what_to_do() {
    let setup = Setup::new(an_hour(None));
    let id = setup.orphan().await;
    let switched = setup.dispatcher(setup.elsewhere.clone());
    let record = setup.journal.record(&id).await.unwrap();
    assert_eq!(switched.stranded_on(&record).await, Some(name("first")));
    let errors = [
        switched.attach(&id).await.map(drop).unwrap_err(),
        switched.cancel(&id, None).await.map(drop).unwrap_err(),
        switched.logs(&id, LogPosition::START, true).await.map(drop).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidSpec);
        let message = error.to_string();
        assert!(message.contains("on another target (target: here"), "{message}");
        assert!(message.contains("rm --force"), "{message}");
    }
    let reaped = switched.gc(Some(Duration::ZERO), false).await.unwrap();
    assert_eq!(reaped.leftovers[0].fate, Fate::Kept, "{reaped:?}");
    kill(&switched).await;
    assert_eq!(setup.journal.record(&id).await.unwrap().cancel, None);
    assert_eq!(attached(&setup.dispatcher(setup.here.clone()), &id).await, exited(5));
}

/// The other server had never heard of the attempt, which was taken for proof that it had not started,
/// or that it was lost.
#[tokio::test(start_paused = true)]
async fn a_job_was_started_again_or_lost_because_another_server_did_not_know_it() {
    for step in [None, Some(LaunchStep::Hang { effect: Some(SECOND) })] {
        let setup = Setup::new(an_hour(step));
        let id = setup.orphan().await;
        let state = setup.journal.record(&id).await.unwrap().state();
        let switched = setup.dispatcher(Forwarding(Unsure(setup.elsewhere.clone())));
        let _job = switched.attach(&id).await.unwrap();
        sleep(3 * MINUTE).await;
        kill(&switched).await;
        assert_eq!(setup.journal.record(&id).await.unwrap().state(), state);
        assert_eq!(attached(&setup.dispatcher(setup.here.clone()), &id).await, exited(5));
        assert_eq!(setup.starts(), 1);
    }
}

/// A runner that learns only by its requests on which backend it is.
#[derive(Debug)]
struct Unsure(SimulatedRunner);

#[async_trait]
impl Forward for Unsure {
    fn inner(&self) -> &dyn Runner {
        &self.0
    }

    async fn reach(&self, _handle: &Handle) -> Result<(), Error> {
        pending().await
    }
}

/// Only the target that the record names counts, even if the configuration changes before the launch.
#[tokio::test(start_paused = true)]
async fn a_launch_on_another_target_than_the_recorded_one_starts_nothing() {
    let setup = Setup::new(Script::default());
    let dispatcher = setup.dispatcher(Forwarding(Moving(setup.elsewhere.clone())));
    let job = dispatcher.submit(Submission::new(job()).kept()).await.unwrap();
    let result = job.end().await;
    assert_eq!(result.runner, Some(name("second")));
    assert_eq!(result.passed_over[0].kind, "Unavailable");
    assert_eq!((setup.elsewhere.present(), setup.starts()), (0, 1));
    let record = setup.journal.record(&result.job).await.unwrap();
    assert_eq!(record.attempts[0].handle.opaque, Value::from("before"));
}

/// A runner whose configuration changes once the dispatcher has recorded its target.
#[derive(Debug)]
struct Moving(SimulatedRunner);

#[async_trait]
impl Forward for Moving {
    fn inner(&self) -> &dyn Runner {
        &self.0
    }

    async fn target(&self) -> Option<Target> {
        Some(Value::from("before"))
    }
}

/// A runner whose target is in a file that cannot be read to its end.
#[derive(Debug)]
struct Targetless(SimulatedRunner);

#[async_trait]
impl Forward for Targetless {
    fn inner(&self) -> &dyn Runner {
        &self.0
    }

    async fn target(&self) -> Option<Target> {
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_never_names_its_target_holds_up_no_job() {
    let scene = scene_through(Targetless, [Script::default()]);
    let began = Instant::now();
    let result = scene.run(job()).await;
    assert_eq!(result.runner, Some(name("first")));
    assert!(began.elapsed() <= 4 * SECOND, "{:?}", began.elapsed());
    scene.shut_down().await;
}

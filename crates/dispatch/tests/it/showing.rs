//! `plan` and `doctor`.

use std::sync::Arc;

use longshore_conformance::simulated::{ProbeStep, Refusal, Script};
use longshore_conformance::{Forward, Forwarding};
use longshore_core::{
    Attempt, Capabilities, Capability, Error, ErrorKind, Finding, FindingCause, JobSpec,
    PullPolicy, RegistryAuth, Runner, Secret, SecretSource, Severity,
};
use longshore_dispatch::{Dispatcher, RunnerHealth, Settings};
use tokio::time::Instant;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_plan_tells_of_each_runner_in_order_and_starts_nothing() {
    let scene = scene([Script::default(), Script::default()]);
    let process = Capabilities::default().with(Capability::Process);
    let dispatcher = Dispatcher::builder()
        .runner(Arc::new(scene.runners[0].clone().with_capabilities(process)))
        .runner(Arc::new(scene.runners[1].clone()))
        .build()
        .unwrap();
    let mut spec = job();
    spec.process = None;
    spec.secret_env.insert("T".to_owned(), SecretSource::Env("LONGSHORE_NO_SUCH".to_owned()));
    let plans = dispatcher.plan(&spec, None).unwrap();
    assert_eq!(plans[0].runner, name("first"));
    assert_eq!(plans[0].result.as_ref().unwrap_err().kind, "Unsupported");
    assert_eq!(plans[1].result.as_ref().unwrap().text, "simulate planned-1");
    let written = serde_json::to_string(&plans).unwrap();
    assert_eq!(
        serde_json::from_str::<Vec<longshore_dispatch::RunnerPlan>>(&written).unwrap(),
        plans
    );
    assert!(scene.story().is_empty());
}

#[test]
fn the_pull_policy_in_force_is_the_jobs_own_else_the_runners_else_the_shared_one() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _guard = runtime.enter();
    let world = longshore_conformance::simulated::World::new();
    let mut settings = Settings::default();
    settings.image_pull_policy = PullPolicy::Never.into();
    let dispatcher = Dispatcher::builder()
        .runner(Arc::new(world.runner(name("first"), Script::default())))
        .runner(Arc::new(world.runner(name("second"), Script::default())))
        .runner_pull_policy(name("second"), PullPolicy::Always.into())
        .settings(settings)
        .build()
        .unwrap();
    let told = |spec| {
        let plans = dispatcher.plan(&spec, None).unwrap();
        let told = plans
            .iter()
            .map(|p| format!("{} from {}", p.pull_policy.policies, p.pull_policy.origin));
        told.collect::<Vec<_>>()
    };
    assert_eq!(
        told(job()),
        ["Never from job.imagePullPolicy", "Always from job.second.imagePullPolicy"]
    );
    let mut own = job();
    own.image_pull_policy = Some("Always,IfNotPresent".parse().unwrap());
    assert_eq!(told(own), ["Always,IfNotPresent from the job's imagePullPolicy"; 2]);
}

#[tokio::test(start_paused = true)]
async fn doctor_asks_every_runner_side_by_side_and_within_connect_timeout() {
    let failing = |step| Script { probes: [step].into(), ..Script::default() };
    let denied = ProbeStep::Fail(Refusal::new(ErrorKind::Denied));
    let scene = scene([failing(ProbeStep::Hang), failing(denied), Script::default()]);
    let began = Instant::now();
    let told = scene.dispatcher.examine(&job()).await.unwrap().runners;
    assert_eq!(began.elapsed(), 5 * SECOND);
    let kinds: Vec<_> = told.iter().map(|h| h.result.as_ref().err().map(|e| e.kind())).collect();
    assert_eq!(kinds, [Some(ErrorKind::Unavailable), Some(ErrorKind::Denied), None]);
    let ready: Vec<_> = told.iter().map(RunnerHealth::is_ready).collect();
    assert_eq!(ready, [false, false, true]);
}

/// A runner that finds something out about each job.
#[derive(Debug)]
struct Finds<R>(R, Severity);

#[async_trait::async_trait]
impl<R: Runner> Forward for Finds<R> {
    fn inner(&self) -> &dyn Runner {
        &self.0
    }

    async fn check(&self, attempt: &Attempt) -> Result<Vec<Finding>, Error> {
        let auth = format!("{:?}", attempt.registry_auth.as_ref().map(|it| &it.server));
        Ok(vec![Finding::new(self.1, FindingCause::Other, auth)])
    }
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_would_refuse_the_job_is_not_ready() {
    let scene = scene([Script::default(), Script::default(), Script::default()]);
    let [first, second, third] = &scene.runners[..] else { panic!() };
    let process = Capabilities::default().with(Capability::Process);
    let auth = RegistryAuth::password("docker.io", "me", Secret::new("hunter2"));
    let dispatcher = Dispatcher::builder()
        .runner(Arc::new(Forwarding(Finds(first.clone(), Severity::Error))))
        .runner(Arc::new(Forwarding(Finds(second.clone(), Severity::Warning))))
        .runner(Arc::new(third.clone().with_capabilities(process)))
        .registry_auth("docker.registry", auth)
        .build()
        .unwrap();
    let spec = JobSpec::container("x:1".parse().unwrap());
    let found = dispatcher.examine(&spec).await.unwrap();
    let login = found.image.unwrap().login.unwrap().unwrap();
    assert_eq!(login.to_string(), "docker.registry (user me)");
    let told: Vec<_> = found.runners.iter().map(|it| (it.is_ready(), &it.findings[0])).collect();
    assert_eq!(told[0].1.message, "Some(\"docker.io\")");
    assert_eq!((told[0].0, told[1].0, told[2].0), (false, true, false));
    assert_eq!(told[2].1.cause, FindingCause::Job);
    assert!(scene.story().is_empty());
    let mut named = spec.clone();
    named.runners = Some(vec![name("second")]);
    let found = dispatcher.examine(&named).await.unwrap();
    assert_eq!(found.runners.iter().map(|it| &it.runner).collect::<Vec<_>>(), [&name("second")]);
    named.runners = Some(vec![name("nobody")]);
    assert_eq!(dispatcher.examine(&named).await.unwrap_err().kind(), ErrorKind::InvalidSpec);
}

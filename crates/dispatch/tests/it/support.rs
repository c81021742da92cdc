//! A world of simulated runners with a dispatcher over it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use longshore_conformance::simulated::{
    Entry, LaunchStep, Refusal, Script, SimulatedRunner, What, World,
};
use longshore_conformance::{Forward, Forwarding};
use longshore_core::{ErrorKind, ImageRef, JobResult, JobSpec, LogChunk, Runner, RunnerName};
use longshore_dispatch::{Dispatcher, DispatcherBuilder, Job, JobEvent, JobLogs, Settings};
use tokio::time::timeout;

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);

/// Simulated runners with a dispatcher over them.
pub struct Scene {
    pub world: World,
    pub runners: Vec<SimulatedRunner>,
    pub dispatcher: Dispatcher,
}

/// Creates runners named `first`, `second`, ... that follow the scripts.
pub fn scene<const N: usize>(scripts: [Script; N]) -> Scene {
    scene_with(Settings::default(), scripts)
}

pub fn scene_with<const N: usize>(settings: Settings, scripts: [Script; N]) -> Scene {
    let world = World::new();
    let names = ["first", "second", "third"].map(name);
    let runners: Vec<_> =
        names.into_iter().zip(scripts).map(|(name, script)| world.runner(name, script)).collect();
    let dispatcher = builder(runners.iter().cloned()).settings(settings).build().unwrap();
    Scene { world, runners, dispatcher }
}

/// Creates runners as [`scene`] does. The dispatcher has the first one as `wrap` returns it.
pub fn scene_through<F: Forward + 'static, const N: usize>(
    wrap: impl FnOnce(SimulatedRunner) -> F,
    scripts: [Script; N],
) -> Scene {
    let scene = scene(scripts);
    let first = Forwarding(wrap(scene.runners[0].clone()));
    let others = scene.runners[1..].iter().cloned();
    let builder = others.fold(builder([first]), |builder, other| builder.runner(Arc::new(other)));
    Scene { dispatcher: builder.build().unwrap(), ..scene }
}

/// Returns the builder of a dispatcher over `runners` whose pauses are the same in each run.
pub fn builder<R: Runner + 'static>(runners: impl IntoIterator<Item = R>) -> DispatcherBuilder {
    let builder = Dispatcher::builder().jitter_seed(1);
    runners.into_iter().fold(builder, |builder, runner| builder.runner(Arc::new(runner)))
}

pub fn name(text: &str) -> RunnerName {
    text.parse().unwrap()
}

/// A job that can run in a container or as a process.
pub fn job() -> JobSpec {
    JobSpec::container("busybox:1".parse::<ImageRef>().unwrap()).or_process(["true"])
}

pub fn launches(steps: impl IntoIterator<Item = LaunchStep>) -> Script {
    Script { launches: steps.into_iter().collect(), ..Script::default() }
}

pub fn refuses(kind: ErrorKind) -> Script {
    launches([LaunchStep::Refuse(Refusal::new(kind))])
}

/// Waits for a job, at most for a simulated month.
pub trait Ends {
    async fn end(self) -> JobResult;
}

impl Ends for Job {
    async fn end(self) -> JobResult {
        let result = timeout(43_200 * MINUTE, self.wait()).await.expect("the job has no end");
        result.expect("its dispatcher still follows it")
    }
}

impl Scene {
    pub async fn run(&self, spec: JobSpec) -> JobResult {
        self.dispatcher.submit(spec).await.unwrap().end().await
    }

    pub async fn shut_down(&self) {
        timeout(43_200 * MINUTE, self.dispatcher.shutdown()).await.expect("a job has no end");
    }

    /// Returns what happened, without the details that do not affect the order.
    pub fn story(&self) -> Vec<String> {
        self.world.ledger().iter().map(line).collect()
    }

    pub fn count(&self, what: fn(&What) -> bool) -> usize {
        self.world.ledger().iter().filter(|e| what(&e.what)).count()
    }

    pub fn present(&self) -> usize {
        self.runners.iter().map(SimulatedRunner::present).sum()
    }
}

/// `runner: what`, such as `first: Started`.
fn line(entry: &Entry) -> String {
    let what = match &entry.what {
        What::Ended { outcome, .. } => format!("Ended({outcome})"),
        other => format!("{other:?}"),
    };
    format!("{}: {what}", entry.runner)
}

/// Returns the output of a job, and whether it has a gap.
pub async fn read(logs: JobLogs) -> (String, bool) {
    let chunks: Vec<LogChunk> = logs.collect().await;
    let gap = chunks.iter().any(|c| matches!(c, LogChunk::Gap { .. }));
    let data = chunks.iter().filter_map(|c| match c {
        LogChunk::Data { bytes, .. } => Some(bytes.as_ref()),
        _ => None,
    });
    (String::from_utf8(data.collect::<Vec<_>>().concat()).unwrap(), gap)
}

/// Returns a short word for a `JobEvent`, for comparison.
pub fn word(event: &JobEvent) -> String {
    match event {
        JobEvent::Queued => "queued".to_owned(),
        JobEvent::Probing { runner } => format!("probing {runner}"),
        JobEvent::PassedOver(p) => format!("passed over {}", p.runner),
        JobEvent::Launching { runner, .. } => format!("launching {runner}"),
        JobEvent::Settling { runner, .. } => format!("settling {runner}"),
        JobEvent::Started { runner, .. } => format!("started {runner}"),
        JobEvent::Trouble { runner, .. } => format!("trouble {runner}"),
        other => format!("{other:?}"),
    }
}

//! An image for one case, in a registry that may fail.

use std::time::Duration;

use bollard::query_parameters::RemoveImageOptions;
use longshore_conformance::{Failure, Pushed, TestRegistry};
use longshore_core::{
    Attempt, Error, ErrorKind, Event, EventSink, ImageReason, ImageRef, ImageReport,
    InstallationId, JobId, LaunchContext, LaunchError, PullPolicy, RegistryAuth, RunnerName,
    Started,
};
use longshore_docker::{DockerConfig, DockerRunner};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::faulty::Faulty;
use crate::support::Lab;
use crate::{Checked, PATIENCE, end, output};

pub(crate) type Tried<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// An image in a repository that only one case uses.
pub(crate) struct Shop {
    pub(crate) lab: Lab,
    pub(crate) registry: TestRegistry,
    pub(crate) faulty: Faulty,
    pub(crate) repository: String,
    pub(crate) pushed: Pushed,
    /// The image at the registry that may fail.
    pub(crate) image: ImageRef,
    pub(crate) installation: InstallationId,
}

impl Shop {
    pub(crate) async fn open(lab: Lab) -> Tried<Self> {
        Self::with_login(lab, None).await
    }

    pub(crate) async fn with_login(lab: Lab, login: Option<(&str, &str)>) -> Tried<Self> {
        let registry = TestRegistry::from_env().map_err(|e| e.to_string())?;
        let repository = format!("longshore/docker-{}", JobId::random());
        let pushed = registry.push(&repository, "1", &repository).await.map_err(words)?;
        let faulty = Faulty::start(registry.base().registry(), login).await?;
        let image = format!("{}/{repository}:1", faulty.address).parse()?;
        let installation = InstallationId::random();
        Ok(Self { lab, registry, faulty, repository, pushed, image, installation })
    }

    /// A runner with a short stall timeout.
    pub(crate) fn runner(&self, stall: Duration) -> DockerRunner {
        let mut config = DockerConfig::default();
        config.pull_stall_timeout = stall.into();
        DockerRunner::new(RunnerName::docker(), config)
    }

    /// A job that prints the image it runs in.
    pub(crate) fn attempt(&self, image: &ImageRef, policy: PullPolicy) -> Attempt {
        let mut spec = self.lab.job("cat /version");
        if let Some(container) = &mut spec.container {
            container.image = image.clone();
        }
        let mut attempt = Attempt::new(self.installation.clone(), JobId::random(), 1, spec);
        attempt.pull_policy = policy;
        attempt
    }

    /// A job that never starts, because its command does not exist: it ends once the image is
    /// pulled.
    pub(crate) fn unstarted(&self, auth: Option<RegistryAuth>) -> Attempt {
        let mut spec = self.lab.job("");
        if let Some(container) = &mut spec.container {
            container.image = self.image.clone();
            container.command = vec!["/no-such-command".to_owned()];
        }
        let mut attempt = Attempt::new(self.installation.clone(), JobId::random(), 1, spec);
        attempt.pull_policy = PullPolicy::Always;
        attempt.registry_auth = auth;
        attempt
    }

    /// Runs `image`, and checks the job's output and the report about the image.
    pub(crate) async fn runs(
        &self,
        runner: &DockerRunner,
        image: &ImageRef,
        policy: PullPolicy,
        version: &str,
        (digest, pulled): (Option<&str>, bool),
    ) -> Checked {
        use longshore_core::Runner as _;
        let attempt = self.attempt(image, policy);
        let started = runner.launch(&attempt, &within(PATIENCE)).await?;
        let text = output(runner, &started.handle).await?;
        let report = end(runner, &started.handle).await?;
        runner.remove(&started.handle).await?;
        assert_eq!(text, version, "{image} {policy}");
        let mut expected = ImageReport::new(image.as_str(), policy);
        expected.resolved = digest.map(str::to_owned);
        expected.pulled = Some(pulled);
        assert_eq!(started.image, Some(expected.clone()), "{image} {policy}");
        assert_eq!(report.image, Some(expected), "{image} {policy}");
        Ok(())
    }

    /// Removes what the case left, and checks that no container remains.
    pub(crate) async fn close(&self) -> Checked {
        self.registry.delete(&self.pushed).await.map_err(words)?;
        self.forget(&self.image).await?;
        assert_eq!(self.lab.leftovers(std::slice::from_ref(&self.installation)).await?, [""; 0]);
        Ok(())
    }

    /// Removes an image's name from the engine.
    pub(crate) async fn forget(&self, image: &ImageRef) -> Checked {
        match self.lab.docker.remove_image(image.as_str(), None::<RemoveImageOptions>, None).await {
            Ok(_)
            | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The message of a failure of the suite's registry.
pub(crate) fn words(failure: Failure) -> String {
    failure.to_string()
}

/// A context whose launch, including the pull, must end after `time`.
pub(crate) fn within(time: Duration) -> LaunchContext {
    LaunchContext::new(Instant::now() + time)
}

/// A context whose pull ends after `time`.
pub(crate) fn pulled_within(time: Duration) -> LaunchContext {
    let mut context = within(PATIENCE);
    context.pull_timeout = time;
    context
}

/// The context for a pull policy that is not the last of a list: it allows no retry.
pub(crate) fn at_once() -> LaunchContext {
    let mut context = within(PATIENCE);
    context.retry_pull = false;
    context
}

/// `context`, and the events that it receives.
pub(crate) fn listened(mut context: LaunchContext) -> (LaunchContext, mpsc::Receiver<Event>) {
    let (sender, events) = mpsc::channel(4096);
    context.events = EventSink::new(sender);
    (context, events)
}

/// The messages about what a launch waited for.
pub(crate) fn waits(events: &mut mpsc::Receiver<Event>) -> Vec<String> {
    let mut waits = Vec::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Waiting(words) = event {
            waits.push(words);
        }
    }
    waits
}

pub(crate) fn refused(launched: Result<Started, LaunchError>) -> Tried<Error> {
    match launched {
        Err(LaunchError::Refused(error)) => Ok(error),
        other => Err(format!("it is not refused: {other:?}").into()),
    }
}

#[track_caller]
pub(crate) fn unavailable(launched: Result<Started, LaunchError>, reason: ImageReason) -> String {
    let error = refused(launched).expect("refused");
    assert_eq!(error.kind(), ErrorKind::ImageUnavailable(reason), "{error}");
    error.to_string()
}

/// Waits until `counted` is at least `n`.
pub(crate) async fn at_least(counted: &mut watch::Receiver<u32>, n: u32) -> Checked {
    timeout(PATIENCE, counted.wait_for(|counted| *counted >= n)).await??;
    Ok(())
}

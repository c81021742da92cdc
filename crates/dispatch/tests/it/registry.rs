//! A registry whose tags move, and runners that pull from it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use longshore_conformance::Forward;
use longshore_conformance::simulated::SimulatedRunner;
use longshore_core::{
    Attempt, ImageRef, ImageReport, LaunchContext, LaunchError, LocalImage, Result, Runner, Started,
};
use tokio::time::Instant;

/// A registry that returns another digest each time that a tag is resolved.
#[derive(Debug, Default)]
pub struct Registry(AtomicUsize);

impl Registry {
    fn resolve(&self, image: &ImageRef) -> String {
        match image.digest() {
            Some(digest) => digest.to_owned(),
            None => digest(self.0.fetch_add(1, Ordering::Relaxed) + 1),
        }
    }
}

/// The digest of the registry's answer number `number`.
pub fn digest(number: usize) -> String {
    format!("sha256:{number:064x}")
}

/// The parameters of a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub image: String,
    pub policy: String,
    pub login: Option<String>,
    pub retry_pull: bool,
    pub read_output: bool,
    pub pull_within: Duration,
    pub answer_within: Duration,
}

/// A simulated runner that reports which image it ran.
#[derive(Clone, Debug)]
pub struct Puller {
    runner: SimulatedRunner,
    registry: Arc<Registry>,
    /// What it reports about whether a registry was consulted.
    pub pulled: Option<bool>,
    /// Whether its images have digests.
    pub digests: bool,
    pub local: LocalImage,
    pub asked: Arc<Mutex<Vec<Asked>>>,
}

impl Puller {
    pub fn new(runner: &SimulatedRunner, registry: &Arc<Registry>) -> Self {
        Self {
            runner: runner.clone(),
            registry: Arc::clone(registry),
            pulled: Some(true),
            digests: true,
            local: LocalImage::Unknown,
            asked: Arc::default(),
        }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn note(&self, attempt: &Attempt, context: &LaunchContext) {
        let now = Instant::now();
        let image = attempt.spec.container.as_ref().map(|c| c.image.to_string());
        self.asked.lock().unwrap().push(Asked {
            image: image.unwrap_or_default(),
            policy: attempt.pull_policy.to_string(),
            login: attempt.registry_auth.as_ref().map(|auth| auth.server.clone()),
            retry_pull: context.retry_pull,
            read_output: context.read_output,
            pull_within: context.pull_timeout,
            answer_within: context.deadline - now,
        });
    }
}

#[async_trait]
impl Forward for Puller {
    fn inner(&self) -> &dyn Runner {
        &self.runner
    }

    async fn local_image(&self, _image: &ImageRef) -> Result<LocalImage> {
        self.runner.probe().await.map(|_| self.local.clone())
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        context: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        self.note(attempt, context);
        let mut started = self.runner.launch(attempt, context).await?;
        if let Some(container) = &attempt.spec.container {
            let mut report = ImageReport::new(container.image.as_str(), attempt.pull_policy);
            report.pulled = self.pulled;
            report.resolved = self.digests.then(|| self.registry.resolve(&container.image));
            started.image = Some(report);
        }
        Ok(started)
    }
}

//! Runners whose launches hang or panic.

use anyhow::Result;
use async_trait::async_trait;
use longshore::Config;
use longshore::runner::{
    Attempt, Forward, Forwarding, LaunchContext, LaunchError, ProcessRunner, Runner, Started,
};

/// What a launch does instead of starting the job.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// It never returns, whatever happens to the job.
    Hangs,
    Panics,
}

#[derive(Debug)]
pub(crate) struct Faulty {
    processes: ProcessRunner,
    how: How,
}

impl Faulty {
    /// Creates the runner `hangs` or `panics`.
    pub(crate) fn new(how: How, config: &Config) -> Result<Forwarding<Self>> {
        let name = match how {
            How::Hangs => "hangs",
            How::Panics => "panics",
        };
        let mut own = config.job.process.clone();
        own.state_directory = Some(longshore::config::state_directory(config)?.join(name));
        Ok(Forwarding(Self { processes: ProcessRunner::new(name.parse()?, own), how }))
    }
}

#[async_trait]
impl Forward for Faulty {
    fn inner(&self) -> &dyn Runner {
        &self.processes
    }

    async fn launch(
        &self,
        attempt: &Attempt,
        _: &LaunchContext,
    ) -> std::result::Result<Started, LaunchError> {
        match self.how {
            How::Hangs => std::future::pending().await,
            How::Panics => panic!("{} is too much for this runner", attempt.id),
        }
    }
}

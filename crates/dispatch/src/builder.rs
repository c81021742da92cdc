//! Builds a dispatcher.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use longshore_core::{InstallationId, PullPolicies, RegistryAuth, Runner, RunnerName};
use longshore_journal::Journal;
use longshore_registry::Keyring;

use crate::candidate::Candidate;
use crate::credentials::Credentials;
use crate::guarded::Guarded;
use crate::store::JournalSource;
use crate::{Dispatcher, Settings};

/// Why a dispatcher could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No runner was given.
    #[error("no runner is configured: name at least one")]
    NoRunner,
    /// Two runners have the same name.
    #[error("the runner {0} is configured twice")]
    DuplicateRunner(RunnerName),
}

/// Builds a [`Dispatcher`].
#[derive(Debug, Default)]
pub struct DispatcherBuilder {
    runners: Vec<Arc<dyn Runner>>,
    settings: Settings,
    pull_policies: BTreeMap<RunnerName, PullPolicies>,
    credentials: Credentials,
    installation: Option<InstallationId>,
    jitter_seed: Option<u64>,
    journal: JournalSource,
}

impl DispatcherBuilder {
    /// Adds a runner after those added before. Runners are tried in this order.
    #[must_use]
    pub fn runner(mut self, runner: Arc<dyn Runner>) -> Self {
        self.runners.push(runner);
        self
    }

    /// Sets the dispatcher's settings. Default: [`Settings::default`].
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the pull policy of one runner, `job.<runner>.imagePullPolicy`.
    #[must_use]
    pub fn runner_pull_policy(mut self, runner: RunnerName, policies: PullPolicies) -> Self {
        self.pull_policies.insert(runner, policies);
        self
    }

    /// Sets the known logins to image registries. Default: none.
    #[must_use]
    pub fn keyring(mut self, keyring: Keyring) -> Self {
        self.credentials.keyring = keyring;
        self
    }

    /// Adds a login that is used for the registry `auth` names, if the keyring has no login for it.
    /// The server name must match exactly. `origin` describes to a person where the login comes
    /// from.
    #[must_use]
    pub fn registry_auth(mut self, origin: impl Into<String>, auth: RegistryAuth) -> Self {
        self.credentials.others.push((origin.into(), auth));
        self
    }

    /// Sets the installation on whose behalf jobs are launched. Default: a new one.
    #[must_use]
    pub fn installation(mut self, installation: InstallationId) -> Self {
        self.installation = Some(installation);
        self
    }

    /// Keeps the record of jobs in the state directory `path`, where other processes find it. The
    /// directory is opened on first use. Default: in memory, and only until each job is done.
    #[must_use]
    pub fn state_directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.journal = JournalSource::Folder(path.into());
        self
    }

    /// Keeps the record of jobs in a journal that is already open.
    #[must_use]
    pub fn journal(mut self, journal: Journal) -> Self {
        self.journal = JournalSource::Open(journal);
        self
    }

    /// Makes the jitter of back-offs repeatable, for simulations. Default: random.
    #[must_use]
    pub const fn jitter_seed(mut self, seed: u64) -> Self {
        self.jitter_seed = Some(seed);
        self
    }

    /// Builds the dispatcher. Starts nothing.
    ///
    /// # Errors
    /// If there is no runner, or two have the same name.
    pub fn build(self) -> Result<Dispatcher, BuildError> {
        if self.runners.is_empty() {
            return Err(BuildError::NoRunner);
        }
        for (i, runner) in self.runners.iter().enumerate() {
            if self.runners[..i].iter().any(|r| r.name() == runner.name()) {
                return Err(BuildError::DuplicateRunner(runner.name().clone()));
            }
        }
        let seed = self.jitter_seed.unwrap_or_else(random_seed);
        let mut pull_policies = self.pull_policies;
        let candidates = self.runners.into_iter().zip(seed..).map(|(runner, jitter)| {
            let pull_policy = pull_policies.remove(runner.name());
            let runner = Arc::new(Guarded(runner));
            Arc::new(Candidate::new(runner, &self.settings, pull_policy, jitter))
        });
        let candidates = candidates.collect();
        let installation = self.installation.unwrap_or_else(InstallationId::random);
        Ok(Dispatcher::new(candidates, self.settings, self.credentials, installation, self.journal))
    }
}

/// Returns a number that differs from process to process.
fn random_seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

//! Builds a dispatcher.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::sync::Arc;

use longshore_core::{InstallationId, PullPolicies, RegistryAuth, Runner, RunnerName};
use longshore_journal::Journal;
use longshore_registry::Keyring;

use crate::candidate::Candidate;
use crate::credentials::Credentials;
use crate::feed::Feed;
use crate::outages::Outages;
use crate::roster::Setup;
use crate::store::{JournalSource, Store};
use crate::{Dispatcher, Observer, Settings};

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
    /// The [order](DispatcherBuilder::order) names a runner that was not added.
    #[error("there is no runner `{name}`{}", hint(known))]
    UnknownRunner {
        /// The name.
        name: RunnerName,
        /// The runners that were added, separated by commas.
        known: String,
    },
}

/// Returns what to use instead of a runner that does not exist, if there is anything.
fn hint(known: &str) -> String {
    if known.is_empty() { String::new() } else { format!(": use {known}") }
}

/// Builds a [`Dispatcher`]. Each method replaces what an earlier call of it set, except those that
/// add something.
#[derive(Debug, Default)]
pub struct DispatcherBuilder {
    runners: Vec<Arc<dyn Runner>>,
    order: Vec<RunnerName>,
    settings: Settings,
    pull_policies: BTreeMap<RunnerName, PullPolicies>,
    credentials: Credentials,
    installation: Option<InstallationId>,
    jitter_seed: Option<u64>,
    journal: JournalSource,
    observers: Vec<Arc<dyn Observer>>,
}

impl DispatcherBuilder {
    /// Adds a runner after those added before. Runners are tried in this order, unless
    /// [`order`](Self::order) names another.
    #[must_use]
    pub fn runner(mut self, runner: Arc<dyn Runner>) -> Self {
        self.runners.push(runner);
        self
    }

    /// Sets the order in which runners are tried. Runners that `names` leaves out come last, in the
    /// order in which they were added. Each name must be that of a runner, added before or later.
    #[must_use]
    pub fn order(mut self, names: impl IntoIterator<Item = RunnerName>) -> Self {
        self.order = names.into_iter().collect();
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
    #[cfg(feature = "sqlite")]
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

    /// Adds an observer, which sees everything that happens to jobs and runners. Observers are called
    /// in the order in which they were added.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
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
    /// If there is no runner, two have the same name, or the order names one that was not added.
    pub fn build(mut self) -> Result<Dispatcher, BuildError> {
        self.check()?;
        let feed = Arc::new(Feed::new(std::mem::take(&mut self.observers)));
        let retention = self.settings.retention.get();
        let store = Arc::new(Store::new(std::mem::take(&mut self.journal), retention));
        let installation = self.installation.take().unwrap_or_else(InstallationId::random);
        let setup = self.setup(&feed, &store, &[]);
        Ok(Dispatcher::new(setup, installation, store, feed))
    }

    /// Checks the runners, and puts them into their order.
    pub(crate) fn check(&mut self) -> Result<(), BuildError> {
        if self.runners.is_empty() {
            return Err(BuildError::NoRunner);
        }
        for (i, runner) in self.runners.iter().enumerate() {
            if self.runners[..i].iter().any(|r| r.name() == runner.name()) {
                return Err(BuildError::DuplicateRunner(runner.name().clone()));
            }
        }
        self.sort()
    }

    /// Returns what a dispatcher is configured with. Its runners go on where those of the same names
    /// among `before` are.
    pub(crate) fn setup(
        self,
        feed: &Arc<Feed>,
        store: &Arc<Store>,
        before: &[Arc<Candidate>],
    ) -> Setup {
        let Self { runners, settings, mut pull_policies, credentials, .. } = self;
        let seed = self.jitter_seed.unwrap_or_else(random_seed);
        let outages = Arc::new(Outages::new(Arc::clone(store), settings.connect_timeout.get()));
        let candidates = runners.into_iter().zip(seed..).map(|(runner, jitter)| {
            let pull_policy = pull_policies.remove(runner.name());
            let before = before.iter().find(|candidate| candidate.name() == runner.name());
            let new = Candidate::new(runner, &settings, pull_policy, jitter, feed, &outages);
            Arc::new(match before {
                Some(before) => new.in_place_of(before),
                None => new,
            })
        });
        let candidates = candidates.collect();
        Setup { candidates, settings: Arc::new(settings), credentials }
    }

    /// Puts the runners into their order.
    fn sort(&mut self) -> Result<(), BuildError> {
        let position = |name: &RunnerName| self.order.iter().position(|other| other == name);
        if let Some((_, name)) =
            self.order.iter().enumerate().find(|(i, name)| position(name) != Some(*i))
        {
            return Err(BuildError::DuplicateRunner(name.clone()));
        }
        let added = |name: &RunnerName| self.runners.iter().any(|runner| runner.name() == name);
        if let Some(name) = self.order.iter().find(|name| !added(name)) {
            let known = self.runners.iter().map(|runner| runner.name().as_str());
            let known = known.collect::<Vec<_>>().join(", ");
            return Err(BuildError::UnknownRunner { name: name.clone(), known });
        }
        // Stable: the others keep their order.
        self.runners.sort_by_key(|runner| position(runner.name()).unwrap_or(usize::MAX));
        Ok(())
    }
}

/// Returns a number that differs from process to process.
fn random_seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use longshore_conformance::simulated::{Script, World};

    use super::*;

    fn ordered(order: &[&str]) -> Result<Vec<String>, BuildError> {
        let world = World::new();
        let mut builder = Dispatcher::builder();
        for name in ["a", "b", "c"] {
            builder =
                builder.runner(Arc::new(world.runner(name.parse().unwrap(), Script::default())));
        }
        let dispatcher = builder.order(order.iter().map(|name| name.parse().unwrap())).build()?;
        Ok(dispatcher.runners().iter().map(|runner| runner.name().to_string()).collect())
    }

    #[tokio::test]
    async fn runners_that_the_order_leaves_out_come_last() {
        assert_eq!(ordered(&[]).unwrap(), ["a", "b", "c"]);
        assert_eq!(ordered(&["c"]).unwrap(), ["c", "a", "b"]);
        assert_eq!(ordered(&["b", "c", "a"]).unwrap(), ["b", "c", "a"]);
    }

    #[tokio::test]
    async fn an_order_with_an_unknown_or_repeated_runner_is_refused_by_name() {
        let error = ordered(&["a", "slurm"]).unwrap_err().to_string();
        assert_eq!(error, "there is no runner `slurm`: use a, b, c");
        // A program without features has no runners of its own.
        let (name, known) = ("slurm".parse().unwrap(), String::new());
        let error = BuildError::UnknownRunner { name, known };
        assert_eq!(error.to_string(), "there is no runner `slurm`");
        assert_eq!(ordered(&["b", "b"]), Err(BuildError::DuplicateRunner("b".parse().unwrap())));
    }
}

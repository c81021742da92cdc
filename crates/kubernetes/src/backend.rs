//! State that the parts of a runner share.

use std::collections::HashSet;
use std::sync::Arc;

use longshore_core::{Capabilities, RequestCounter, Result, RunnerName};
use parking_lot::{Mutex, MutexGuard};

use crate::client::{Cluster, Connection};
use crate::config::KubernetesConfig;
use crate::discards::Discards;
use crate::informer::Informer;
use crate::location::Location;
use crate::questions::Questions;
use crate::translate;

/// State that the runner, its launches and its streams share.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) name: RunnerName,
    pub(crate) config: KubernetesConfig,
    pub(crate) capabilities: Capabilities,
    pub(crate) connection: Arc<Connection>,
    pub(crate) informer: Arc<Informer>,
    pub(crate) discards: Discards,
    pub(crate) questions: Questions,
    /// The attempts that this process has released and not removed. If the Job of one has vanished,
    /// the attempt may have run.
    committed: Mutex<HashSet<String>>,
}

impl Backend {
    pub(crate) fn new(name: RunnerName, config: KubernetesConfig) -> Self {
        let connection = Arc::new(Connection::new(config.clone(), RequestCounter::new(&name)));
        Self {
            name,
            capabilities: translate::capabilities(&config),
            informer: Arc::new(Informer::new(connection.clone())),
            discards: Discards::new(connection.clone()),
            questions: Questions::new(),
            connection,
            config,
            committed: Mutex::default(),
        }
    }

    /// Returns the cluster of the attempt at `location`. An answer of any other says nothing about the
    /// attempt.
    ///
    /// # Errors
    /// `Unavailable` as for [`Connection::cluster_of`].
    pub(crate) async fn cluster_of(&self, location: &Location) -> Result<Arc<Cluster>> {
        self.connection.cluster_of(location.cluster.as_ref()).await
    }

    /// Records that the attempt at `location` is about to be released.
    pub(crate) fn note_commit(&self, location: &Location) {
        self.committed().insert(location.attempt.clone());
    }

    /// Forgets the attempt at `location`, which provably never started or has been removed.
    pub(crate) fn forget_commit(&self, location: &Location) {
        self.committed().remove(&location.attempt);
    }

    /// Returns whether this process may have released the attempt at `location`.
    pub(crate) fn has_committed(&self, location: &Location) -> bool {
        self.committed().contains(&location.attempt)
    }

    fn committed(&self) -> MutexGuard<'_, HashSet<String>> {
        // No code that could panic runs under this lock.
        self.committed.lock()
    }
}

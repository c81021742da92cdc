//! What a dispatcher is configured with. A reload replaces it while jobs are in flight.

use std::sync::{Arc, Weak};

use longshore_core::{Error, RunnerName};
use parking_lot::RwLock;

use crate::Settings;
use crate::candidate::Candidate;
use crate::credentials::Credentials;
use crate::selection;

/// The runners, settings and logins of a dispatcher, as of one moment.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) candidates: Vec<Arc<Candidate>>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) credentials: Credentials,
}

/// The present setup, and the runners of earlier ones that still have jobs.
#[derive(Debug)]
pub(crate) struct Roster {
    setup: RwLock<Arc<Setup>>,
    /// Runners that were taken out. They exist for as long as a job of this process is there.
    removed: RwLock<Vec<Weak<Candidate>>>,
}

impl Roster {
    pub(crate) fn new(setup: Setup) -> Arc<Self> {
        Arc::new(Self { setup: RwLock::new(Arc::new(setup)), removed: RwLock::default() })
    }

    pub(crate) fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.setup.read())
    }

    /// Replaces the setup by the one that `setup` returns for the known runners: the configured ones,
    /// and those that were taken out and still have jobs. Returns the new setup. Runners that are no
    /// longer in it take no new jobs, and those that are back in it do.
    pub(crate) fn replace(&self, setup: impl FnOnce(&[Arc<Candidate>]) -> Setup) -> Arc<Setup> {
        let mut current = self.setup.write();
        let mut removed = self.removed.write();
        removed.retain(|candidate| candidate.strong_count() > 0);
        let gone = removed.iter().rev().filter_map(Weak::upgrade);
        let known: Vec<_> = current.candidates.iter().cloned().chain(gone).collect();
        let next = Arc::new(setup(&known));
        for candidate in &next.candidates {
            if selection::find(&current.candidates, candidate.name()).is_err() {
                candidate.uncordon();
            }
        }
        for candidate in &current.candidates {
            if selection::find(&next.candidates, candidate.name()).is_err() {
                candidate.cordon();
                removed.push(Arc::downgrade(candidate));
            }
        }
        *current = Arc::clone(&next);
        next
    }

    /// Returns the runner `name`: the configured one, or else one that was taken out and still has
    /// jobs.
    ///
    /// # Errors
    /// `InvalidSpec` if there is none.
    pub(crate) fn find(&self, name: &RunnerName) -> Result<Arc<Candidate>, Error> {
        selection::find(&self.setup().candidates, name).or_else(|unknown| {
            let removed = self.removed.read();
            let mut removed = removed.iter().rev().filter_map(Weak::upgrade);
            removed.find(|candidate| candidate.name() == name).ok_or(unknown)
        })
    }

    /// Returns the runner that now has the name of `candidate`, or else `candidate`, which then takes
    /// no new jobs.
    pub(crate) fn successor(&self, candidate: &Arc<Candidate>) -> Arc<Candidate> {
        let setup = self.setup();
        selection::find(&setup.candidates, candidate.name())
            .unwrap_or_else(|_| Arc::clone(candidate))
    }
}

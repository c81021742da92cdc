//! The store of a journal.

use parking_lot::Mutex;

use crate::error::{JournalError, Result};
use crate::memory::Memory;
#[cfg(feature = "sqlite")]
use crate::sqlite::Worker;
use crate::store::{Store, Stored};

/// Runs steps on a store.
#[derive(Debug)]
pub(crate) enum Backing {
    /// Runs each step at once on the caller's thread, so that the result depends on no other
    /// thread's timing.
    Memory(Mutex<Memory>),
    #[cfg(feature = "sqlite")]
    Sqlite(Worker),
}

impl Backing {
    /// Runs `work` as one step, and returns once it is on record.
    ///
    /// `work` runs even if the caller drops the future meanwhile.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Store) -> Stored<T> + Send + 'static,
    ) -> Result<T> {
        match self {
            Self::Memory(memory) => work(&mut *memory.lock()).map_err(JournalError::from),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(worker) => worker.write(work).await,
        }
    }

    /// Runs `work`, which changes nothing, on one state of the store.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Store) -> Stored<T> + Send + 'static,
    ) -> Result<T> {
        match self {
            Self::Memory(memory) => work(&*memory.lock()).map_err(JournalError::from),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(worker) => worker.read(|store| work(store)).await,
        }
    }
}

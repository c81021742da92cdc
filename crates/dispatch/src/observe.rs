//! Shows what happens to all jobs, and what is known about the runners.

use futures_util::stream::BoxStream;
use longshore_core::JobId;

use crate::{Dispatcher, JobEvent, Lagged, RunnerStatus};

impl Dispatcher {
    /// Returns what happens from now on to all jobs that this dispatcher runs or follows, in order.
    ///
    /// The stream ends when all clones of the dispatcher are dropped and its jobs are done. After
    /// [`abandon`](Self::abandon), jobs that were under way have no further events.
    ///
    /// A slow subscriber delays no job. Some thousand events are kept for it. It then loses the
    /// oldest, receives [`Lagged`] in their place, and continues with the events that are left.
    /// Read the [records](Self::records) to find out what it missed.
    ///
    /// # Cancel safety
    /// Waiting for the next event is cancel safe.
    ///
    /// # Errors
    /// [`Lagged`] in place of events that were lost. It does not end the stream.
    ///
    /// # Examples
    /// ```
    /// use futures::StreamExt;
    /// use longshore_dispatch::{Dispatcher, JobEvent};
    ///
    /// /// Prints how each job ends.
    /// async fn report(dispatcher: &Dispatcher) {
    ///     let mut events = dispatcher.subscribe();
    ///     while let Some(event) = events.next().await {
    ///         match event {
    ///             Ok((job, JobEvent::Ended(result))) => println!("{job}: {}", result.outcome),
    ///             Ok(_) => {}
    ///             Err(lagged) => eprintln!("{lagged}"),
    ///         }
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> BoxStream<'static, Result<(JobId, JobEvent), Lagged>> {
        self.feed().subscribe()
    }

    /// Returns what is known about each runner, in order. Returns at once and asks no backend:
    /// everything is from the jobs and probes of this dispatcher up to now.
    /// [`examine`](Self::examine) asks the backends.
    ///
    /// # Examples
    /// ```
    /// use longshore_dispatch::{BreakerState, Dispatcher};
    ///
    /// /// Whether a runner can be expected to take a job.
    /// fn is_ready(dispatcher: &Dispatcher) -> bool {
    ///     dispatcher.runner_status().iter().any(|it| it.breaker == BreakerState::Closed)
    /// }
    /// ```
    #[must_use]
    pub fn runner_status(&self) -> Vec<RunnerStatus> {
        self.setup().candidates.iter().map(|candidate| candidate.status()).collect()
    }
}

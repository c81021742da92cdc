//! One launch, from the call to a clear or an unclear answer.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::{
    Attempt, Error, ErrorKind, Event, EventSink, LaunchContext, LaunchError, Runner, Started,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::job::JobEvent;
use crate::progress::Progress;

/// How much later than it must a runner may answer before it is no longer waited for: after the
/// deadline, and again after a cancel.
pub(crate) const OVERDUE: Duration = Duration::from_secs(15);
/// How many events of a launch wait to be passed on.
const EVENTS_KEPT: usize = 64;

/// What a launch came to.
#[derive(Debug)]
pub(crate) enum Launched {
    /// It has started.
    Started(Started),
    /// Proven that nothing started and nothing can.
    Refused(Error),
    /// It may have started.
    Unclear {
        /// Why there was no clear answer.
        error: Error,
        /// Whether the launch has answered at all. If not, it still goes on in a task of its own.
        answered: bool,
    },
}

impl From<Result<Started, LaunchError>> for Launched {
    fn from(answer: Result<Started, LaunchError>) -> Self {
        match answer {
            Ok(started) => Self::Started(started),
            Err(LaunchError::Refused(error)) => Self::Refused(error),
            Err(LaunchError::Indeterminate(error)) => Self::Unclear { error, answered: true },
        }
    }
}

/// What a launch has to keep to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) start_timeout: Duration,
    pub(crate) pull_timeout: Duration,
    pub(crate) deadline: Instant,
    pub(crate) retry_pull: bool,
}

/// Launches `attempt`, to be answered within its `limits`; `cancel` ends it early.
///
/// The launch itself is never dropped, as what it does on the backend cannot be: it is cancelled
/// through its context. One that answers neither that nor its deadline goes on in a task of its
/// own, and is unclear; settling it keeps it from starting the job later.
pub(crate) async fn launch(
    runner: &Arc<dyn Runner>,
    attempt: Arc<Attempt>,
    limits: Limits,
    cancel: &CancellationToken,
    progress: &Progress,
) -> Launched {
    let (sender, mut events) = mpsc::channel(EVENTS_KEPT);
    let mut context = LaunchContext::new(limits.deadline);
    context.start_timeout = limits.start_timeout;
    context.pull_timeout = limits.pull_timeout;
    context.retry_pull = limits.retry_pull;
    context.cancel = cancel.child_token();
    context.events = EventSink::new(sender);
    let stop = context.cancel.clone();
    let mut running = Box::pin({
        let runner = Arc::clone(runner);
        async move { runner.launch(&attempt, &context).await }
    });
    let mut overdue = std::pin::pin!(overdue(limits.deadline, &stop));
    loop {
        tokio::select! {
            biased;
            answer = &mut running => return answer.into(),
            Some(event) = events.recv() => pass_on(event, runner, progress),
            () = &mut overdue => break,
        }
    }
    tokio::spawn(running);
    let error = Error::new(
        ErrorKind::Unavailable,
        "the launch answered neither its deadline nor its cancellation",
    );
    Launched::Unclear { error: error.on(runner.name()), answered: false }
}

/// Ends when the launch is no longer to be waited for; cancels it before that.
async fn overdue(deadline: Instant, stop: &CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = sleep_until(deadline + OVERDUE) => stop.cancel(),
    }
    sleep(OVERDUE).await;
}

fn pass_on(event: Event, runner: &Arc<dyn Runner>, progress: &Progress) {
    // A launch reports its end by its answer.
    if !matches!(event, Event::Ended(_)) {
        progress.tell(JobEvent::Runner { runner: runner.name().clone(), event });
    }
}

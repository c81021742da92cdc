//! One launch, from the call to a clear or unclear answer.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::{
    Attempt, Error, ErrorKind, Event, EventSink, LaunchContext, LaunchError, Runner, Started,
    TerminalSize,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::event_sink::JobEventSink;
use crate::job_event::JobEvent;
use crate::launches::Slot;

/// How late a runner may answer before the dispatcher stops waiting: after the deadline, and again
/// after a cancel.
pub(crate) const OVERDUE: Duration = Duration::from_secs(15);
/// How many events of a launch are buffered before they are passed on.
const EVENTS_KEPT: usize = 64;

/// The outcome of a launch.
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
        /// Whether the launch has answered at all. If not, it still runs in a task of its own.
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

/// The limits of a launch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) start_timeout: Duration,
    pub(crate) pull_timeout: Duration,
    pub(crate) deadline: Instant,
    pub(crate) retry_pull: bool,
}

/// What a launch takes from the job's task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'a> {
    pub(crate) cancel: &'a CancellationToken,
    pub(crate) sink: &'a JobEventSink,
    /// Whether the task reads the output from its beginning.
    pub(crate) reads_output: bool,
    /// The size of the job's terminal at its start.
    pub(crate) terminal_size: Option<TerminalSize>,
}

/// Launches `attempt`, which must answer within its `limits`. The task's `cancel` ends it early.
///
/// The launch future is never dropped, because its effects on the backend cannot be dropped either:
/// it is cancelled through its context. A launch that reacts neither to the cancellation nor to its
/// deadline continues in a task of its own, and its outcome is unclear. Settling the attempt then
/// keeps the launch from starting the job later.
pub(crate) async fn launch(
    runner: &Arc<dyn Runner>,
    attempt: Arc<Attempt>,
    limits: Limits,
    task: Task<'_>,
    slot: &Slot,
) -> Launched {
    let (sender, mut events) = mpsc::channel(EVENTS_KEPT);
    let mut context = LaunchContext::new(limits.deadline);
    context.start_timeout = limits.start_timeout;
    context.pull_timeout = limits.pull_timeout;
    context.retry_pull = limits.retry_pull;
    context.read_output = task.reads_output;
    context.terminal_size = task.terminal_size;
    context.cancel = task.cancel.child_token();
    context.events = EventSink::new(sender);
    let stop = context.cancel.clone();
    let mut running = Box::pin({
        let runner = Arc::clone(runner);
        async move { runner.launch(&attempt, &context).await }
    });
    let mut overdue = std::pin::pin!(overdue(limits.deadline, &stop));
    slot.begins();
    loop {
        tokio::select! {
            biased;
            answer = &mut running => {
                slot.returns();
                return answer.map_err(|e| e.on(runner.name())).into();
            }
            Some(event) = events.recv() => {
                slot.reports(&event);
                pass_on(event, runner, task.sink);
            }
            () = &mut overdue => break,
        }
    }
    tokio::spawn(running);
    let error = Error::new(
        ErrorKind::Unavailable,
        "the launch returned neither by its deadline nor after its cancellation",
    );
    Launched::Unclear { error: error.on(runner.name()), answered: false }
}

/// Returns when the dispatcher must stop waiting for the launch. Cancels the launch before that.
async fn overdue(deadline: Instant, stop: &CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = sleep_until(deadline + OVERDUE) => stop.cancel(),
    }
    sleep(OVERDUE).await;
}

fn pass_on(event: Event, runner: &Arc<dyn Runner>, sink: &JobEventSink) {
    // A launch reports its end through its return value.
    if !matches!(event, Event::Ended(_)) {
        sink.send(JobEvent::Runner { runner: runner.name().clone(), event });
    }
}

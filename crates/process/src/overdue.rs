//! A job that has not ended in time because its supervisor is stopped (`SIGSTOP`): the supervisor
//! enforces the timeout and obeys requests to cancel, so a process that follows the job sees to it that
//! the supervisor can do so.

use std::io;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep, sleep_until};

use crate::linux::{ProcessIdentity, find_supervisor};
use crate::location::Location;
use crate::outcome::Cause;
use crate::record::Record;

/// How long after it is due the end may come before the supervisor is continued.
const SLACK: Duration = Duration::from_secs(2);

/// How long after the grace period a supervisor that was continued, and is stopped again, is killed.
const KILL_AFTER: Duration = Duration::from_secs(5);

/// How soon to look again, after something failed.
const AGAIN: Duration = Duration::from_secs(5);

/// What to do about a supervisor that does not end its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Wait(Duration),
    Continue,
    Kill(Cause),
}

/// Watches over the end of one attempt.
#[derive(Debug)]
pub(crate) struct Overdue {
    location: Location,
    /// Since when the supervisor has been continued.
    continued: Option<Instant>,
}

/// When an attempt is to end, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    at: Timestamp,
    cause: Cause,
    grace: Duration,
}

impl Overdue {
    pub(crate) const fn new(location: Location) -> Self {
        Self { location, continued: None }
    }

    /// Waits until the attempt is overdue, and then continues its supervisor. If the supervisor is
    /// stopped again, kills it: the attempt then ends as that of a dead supervisor does. Never
    /// returns. Cancel safe.
    pub(crate) async fn see_to_the_end(&mut self) -> std::convert::Infallible {
        loop {
            if let Err(error) = self.step().await {
                tracing::debug!(%error, "failed to look whether an attempt is overdue");
                sleep(AGAIN).await;
            }
        }
    }

    async fn step(&mut self) -> io::Result<()> {
        let Some(record) = self.location.read_record()? else { return pending().await };
        let Some(due) = self.due(&record)? else { return pending().await };
        match step(due, Timestamp::now(), self.continued.map(|at| at.elapsed())) {
            Step::Wait(pause) => sleep_until(Instant::now() + pause).await,
            Step::Continue => {
                if let Some(supervisor) = self.supervisor(record)? {
                    supervisor.nudge()?;
                }
                self.continued = Some(Instant::now());
            }
            Step::Kill(cause) => {
                // A supervisor that is not stopped knows better than this clock whether the job is
                // overdue.
                if let Some(supervisor) = self.supervisor(record)?
                    && supervisor.is_stopped()?
                {
                    self.location.mark_overdue(cause)?;
                    supervisor.kill()?;
                }
                sleep(AGAIN).await;
            }
        }
        Ok(())
    }

    fn supervisor(&self, record: Record) -> io::Result<Option<ProcessIdentity>> {
        match record.starting {
            Some(starting) => Ok(Some(starting.supervisor)),
            None => find_supervisor(self.location.directory()),
        }
    }

    /// Returns the first time at which the attempt is to end.
    fn due(&self, record: &Record) -> io::Result<Option<Due>> {
        if record.ended.is_some() || record.refused.is_some() || record.is_fenced() {
            return Ok(None);
        }
        let timeout = record.started.zip(record.starting.as_ref()).and_then(|(begin, starting)| {
            let timeout = Duration::from_millis(starting.timeout_ms?);
            let grace = Duration::from_millis(starting.grace_ms);
            Some(Due { at: later(begin.at, timeout)?, cause: Cause::Deadline, grace })
        });
        let cancel = self.location.first_cancel()?.map(|(at, grace)| Due {
            at: Timestamp::try_from(at).unwrap_or(Timestamp::MAX),
            cause: Cause::Cancel,
            grace,
        });
        Ok([timeout, cancel].into_iter().flatten().min_by_key(|due| due.at))
    }
}

async fn pending() -> io::Result<()> {
    std::future::pending().await
}

fn later(at: Timestamp, by: Duration) -> Option<Timestamp> {
    at.checked_add(SignedDuration::try_from(by).ok()?).ok()
}

/// Returns what to do at `now` about an attempt whose supervisor was continued so long ago.
fn step(due: Due, now: Timestamp, continued: Option<Duration>) -> Step {
    let Some(continued) = continued else {
        let left = later(due.at, SLACK).unwrap_or(Timestamp::MAX).duration_since(now);
        return Duration::try_from(left).map_or(Step::Continue, |left| {
            if left.is_zero() { Step::Continue } else { Step::Wait(left) }
        });
    };
    let limit = due.grace.saturating_add(KILL_AFTER);
    match limit.checked_sub(continued) {
        Some(left) if !left.is_zero() => Step::Wait(left),
        _ => Step::Kill(due.cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_supervisor_is_continued_after_the_slack_and_killed_later() {
        let second = Duration::from_secs;
        let at = Timestamp::UNIX_EPOCH;
        let due = Due { at, cause: Cause::Deadline, grace: second(10) };
        let now = |seconds| later(at, second(seconds)).unwrap();
        assert_eq!(step(due, now(0), None), Step::Wait(second(2)));
        assert_eq!(step(due, now(2), None), Step::Continue);
        assert_eq!(step(due, now(500), None), Step::Continue);
        assert_eq!(step(due, now(500), Some(second(3))), Step::Wait(second(12)));
        assert_eq!(step(due, now(500), Some(second(15))), Step::Kill(Cause::Deadline));
        let never = Due { grace: Duration::MAX, ..due };
        assert!(matches!(step(never, now(500), Some(second(900))), Step::Wait(_)));
    }
}

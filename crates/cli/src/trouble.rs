//! What keeps a command waiting, said every few seconds: the trouble that a runner reports, and a
//! job that does not end although it was asked to.

use std::convert::Infallible;
use std::time::Duration;

use longshore::runner::RunnerName;
use tokio::time::{Instant, sleep_until};

use crate::output;

/// How long something takes before it is said, and how often it is said.
const EVERY: Duration = Duration::from_secs(5);

/// How long after the last report a trouble counts as over: longer than the pauses between the
/// retries of a call.
const OVER: Duration = Duration::from_secs(45);

/// The trouble of one job with its runner.
#[derive(Debug, Default)]
pub struct Trouble(Option<Reported>);

#[derive(Debug)]
struct Reported {
    runner: RunnerName,
    message: String,
    since: Instant,
    last: Instant,
    next: Instant,
}

impl Trouble {
    /// Takes note of a report.
    pub fn reported(&mut self, runner: &RunnerName, message: &str, now: Instant) {
        let message = message.to_owned();
        match &mut self.0 {
            Some(known) if now < known.last + OVER && known.runner == *runner => {
                known.message = message;
                known.last = now;
            }
            known => {
                let runner = runner.clone();
                *known =
                    Some(Reported { runner, message, since: now, last: now, next: now + EVERY });
            }
        }
    }

    /// Forgets the trouble: the runner reports about the job again.
    pub fn is_over(&mut self) {
        self.0 = None;
    }

    /// Waits until the trouble is to be said, and returns the text. Cancel safe.
    pub async fn due(&mut self) -> String {
        loop {
            let Some(known) = &mut self.0 else { return std::future::pending().await };
            sleep_until(known.next).await;
            if Instant::now() >= known.last + OVER {
                self.0 = None;
                continue;
            }
            known.next += EVERY;
            let seconds = known.since.elapsed().as_secs();
            return format!("{}, for {seconds} s: {}", known.runner, known.message);
        }
    }
}

/// Says every few seconds that a job has not ended, from `grace` after the call on. Never returns.
pub async fn say_that_it_lasts(job: &longshore::JobId, grace: Duration) -> Infallible {
    let asked = Instant::now();
    let mut grace = grace;
    loop {
        let Some(next) = Instant::now().checked_add(grace.saturating_add(EVERY)) else {
            return std::future::pending().await;
        };
        sleep_until(next).await;
        grace = Duration::ZERO;
        let seconds = asked.elapsed().as_secs();
        output::say(&format!("waiting for job {job}, which was asked to end {seconds} s ago"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_trouble_is_said_every_five_seconds_until_it_is_over() {
        let runner = RunnerName::docker();
        let begun = Instant::now();
        let mut trouble = Trouble::default();
        trouble.reported(&runner, "no", begun);
        assert_eq!(trouble.due().await, "docker, for 5 s: no");
        trouble.reported(&runner, "still no", Instant::now());
        assert_eq!(trouble.due().await, "docker, for 10 s: still no");
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
        let silent = tokio::time::timeout(Duration::from_secs(300), async {
            loop {
                trouble.due().await;
            }
        });
        assert!(silent.await.is_err(), "it never ends");
        assert!(trouble.0.is_none(), "a trouble that is no longer reported is over");
        trouble.reported(&runner, "again", Instant::now());
        trouble.is_over();
        let silent = tokio::time::timeout(Duration::from_secs(60), trouble.due()).await;
        assert!(silent.is_err(), "{silent:?}");
    }
}

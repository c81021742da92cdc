//! Races between a launch and another call.
//!
//! A race proves something only if it is won by both sides: a fence that always comes after the
//! start is never tested. The rounds are spread over the time that a start takes, and a race that
//! one side never won is a failure.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use longshore_core::{LaunchError, Started};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::Failure;
use crate::bench::{Bench, Directory};
use crate::failure::{Checked, check};
use crate::late::wait_for_late_starts;
use crate::pace::Latency;
use crate::wait::until;

/// How many of the first rounds run at once. Further rounds run alone, so that a start takes no longer
/// than was measured.
const AT_ONCE: usize = 8;
/// How often more rounds are added for a side that did not win yet, and how many each time.
const MORE: (u32, u32) = (4, 4);
/// How often all rounds are played again, because starts take less than half as long as measured.
const AGAIN: u32 = 2;

/// A race that must be won by both sides.
pub(crate) struct Race {
    /// Who races, for the message of a failure.
    pub(crate) what: &'static str,
    /// What it means that the rival came early, and that it came late.
    pub(crate) sides: [&'static str; 2],
    /// The number of rounds, if both sides win within them.
    pub(crate) rounds: u32,
}

/// Which side won a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Winner {
    /// The launch's rival.
    Rival,
    /// The launch.
    Launch,
    /// It is not clear.
    Nobody,
}

/// The result of a round: who won, and how often the job must have started.
pub(crate) struct Played {
    pub(crate) winner: Winner,
    pub(crate) directory: Directory,
    pub(crate) starts: RangeInclusive<usize>,
    /// The answers, for the message of a failure.
    pub(crate) why: String,
}

/// One round: when the two begin.
#[derive(Clone)]
pub(crate) struct Round {
    moment: Moment,
    seen: Arc<Mutex<Vec<Duration>>>,
}

/// When the two sides of a round begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moment {
    /// How much earlier than the launch the rival begins.
    head_start: Duration,
    /// How much later than the launch the rival begins.
    delay: Duration,
}

impl Round {
    /// Returns how much later than the launch the rival begins.
    pub(crate) const fn delay(&self) -> Duration {
        self.moment.delay
    }

    /// Runs the launch and its rival, each at its moment.
    pub(crate) async fn both<R>(
        &self,
        launch: impl Future<Output = Checked<Result<Started, LaunchError>>>,
        rival: impl Future<Output = R>,
    ) -> Checked<(Result<Started, LaunchError>, R)> {
        let launch = async {
            pause(self.moment.head_start).await;
            let began = Instant::now();
            let answer = launch.await;
            if let Ok(Ok(_)) = &answer {
                self.saw(began.elapsed());
            }
            answer
        };
        let rival = async {
            pause(self.moment.delay).await;
            rival.await
        };
        // Polled first, the rival is the earlier one at a delay of 0.
        let (rival, answer) = futures::join!(rival, launch);
        Ok((answer?, rival))
    }

    fn saw(&self, start: Duration) {
        self.seen.lock().push(start);
    }
}

/// Waits for the moment of one side. At 0 it does not yield, so that the order of polling decides.
async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

impl Race {
    /// Plays the rounds, and more of them until both sides have won. Then waits for as long as a
    /// late start could take, and compares how often each job started with how often it may have.
    pub(crate) async fn run<Fut>(&self, bench: &Bench, play: impl Fn(Round) -> Fut) -> Checked
    where
        Fut: Future<Output = Checked<Played>>,
    {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut latency = bench.latency()?;
        let mut spread = latency.median + latency.median / 2;
        let mut moments = first(spread, self.rounds);
        let mut played: Vec<Played> = Vec::new();
        let (mut more, mut again) = (0, 0);
        loop {
            let rounds = moments.into_iter().map(|moment| {
                let round = Round { moment, seen: Arc::clone(&seen) };
                let what = format!("{} {moment}", self.what);
                let playing = play(round);
                async move { playing.await.map_err(|e| e.while_doing(what)) }
            });
            let at_once = if more == 0 { AT_ONCE } else { 1 };
            let some: Vec<_> = stream::iter(rounds).buffer_unordered(at_once).try_collect().await?;
            played.extend(some);
            let of_now = seen.lock().clone();
            if let Some(of_now) = Latency::of(of_now) {
                latency.longest = latency.longest.max(of_now.longest);
                // The machine was busier when the latency was measured: most rounds came late.
                if of_now.median * 2 < latency.median && again < AGAIN {
                    again += 1;
                    latency.median = of_now.median;
                    moments = first(of_now.median + of_now.median / 2, self.rounds);
                    continue;
                }
            }
            let missing = self.missing(&played);
            let Some(missing) = missing else { break };
            if more == MORE.0 {
                let Moment { head_start, delay } = extra(missing, latency, more - 1, MORE.1);
                let widest = spread.max(delay);
                return Err(Failure::new(format!(
                    "{}: in none of {} rounds was it {}; a start took {latency}, and the rival \
                     began from {head_start:.0?} before the launch to {widest:.0?} after it",
                    self.what,
                    played.len(),
                    self.side(missing),
                )));
            }
            moments = (1..=MORE.1).map(|n| extra(missing, latency, more, n)).collect();
            spread = spread.max(moments.iter().map(|m| m.delay).max().unwrap_or_default());
            more += 1;
        }
        wait_for_late_starts(bench, latency).await?;
        for one in &played {
            count(bench, one).await.map_err(|e| e.while_doing(self.what))?;
        }
        Ok(())
    }

    fn missing(&self, played: &[Played]) -> Option<Winner> {
        let has_won = |winner| played.iter().any(|one| one.winner == winner);
        [Winner::Rival, Winner::Launch].into_iter().find(|winner| !has_won(*winner))
    }

    const fn side(&self, winner: Winner) -> &'static str {
        match winner {
            Winner::Rival => self.sides[0],
            _ => self.sides[1],
        }
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.head_start {
            Duration::ZERO => write!(f, "{:.0?} after the launch began", self.delay),
            ahead => write!(f, "{ahead:.0?} before the launch began"),
        }
    }
}

/// Returns the moments of the first rounds, from 0 to `spread`. They are closer together at the
/// beginning, where a backend commits a job long before it runs.
fn first(spread: Duration, rounds: u32) -> Vec<Moment> {
    let last = f64::from(rounds.saturating_sub(1).max(1));
    let delay = |n: u32| spread.mul_f64((f64::from(n) / last).powi(2));
    (0..rounds).map(|n| Moment { head_start: Duration::ZERO, delay: delay(n) }).collect()
}

/// Returns the `n`th moment of the `more`th set of further rounds, for the side that did not win.
/// The rival gets a head start of up to one start, or begins up to eight starts after the launch.
fn extra(missing: Winner, latency: Latency, more: u32, n: u32) -> Moment {
    let part = f64::from(n) / f64::from(MORE.1);
    match missing {
        Winner::Rival => {
            let most = latency.longest / 2_u32.pow(MORE.0 - 1 - more);
            Moment { head_start: most.mul_f64(part), delay: Duration::ZERO }
        }
        _ => {
            let most = latency.longest * 2_u32.pow(more);
            let delay = most.mul_f64(part).max(latency.longest);
            Moment { head_start: Duration::ZERO, delay }
        }
    }
}

/// Fails unless the job started as often as it may have.
async fn count(bench: &Bench, one: &Played) -> Checked {
    let least = *one.starts.start();
    if one.directory.lines("starts")? < least {
        until(bench.patience(), "a job that launch reported as started to run", || async {
            Ok((one.directory.lines("starts")? >= least).then_some(()))
        })
        .await?;
    }
    let starts = one.directory.lines("starts")?;
    check(one.starts.contains(&starts), || {
        format!("it started {starts} times, expected {:?}: {}", one.starts, one.why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: Latency =
        Latency { median: Duration::from_secs(2), longest: Duration::from_secs(2) };

    #[test]
    fn the_rounds_are_spread_over_the_time_that_a_start_takes() {
        let moments = first(Duration::from_secs(3), 16);
        assert_eq!(moments.len(), 16);
        assert_eq!(moments[0].delay, Duration::ZERO);
        assert_eq!(moments[15].delay, Duration::from_secs(3));
        let within = moments.iter().filter(|m| m.delay < Duration::from_secs(2)).count();
        assert_eq!(within, 13);
    }

    #[test]
    fn further_rounds_favour_the_side_that_did_not_win() {
        let last = extra(Winner::Rival, LATENCY, MORE.0 - 1, MORE.1);
        assert_eq!((last.head_start, last.delay), (LATENCY.longest, Duration::ZERO));
        let last = extra(Winner::Launch, LATENCY, MORE.0 - 1, MORE.1);
        assert_eq!((last.head_start, last.delay), (Duration::ZERO, LATENCY.longest * 8));
    }
}

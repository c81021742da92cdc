//! Scripts and jobs generated from a seed.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use longshore_core::{ErrorKind, ImageReason, Outcome, RejectReason, RunnerName};

use super::dice::Dice;
use super::meddling;
use super::script::{CallStep, LaunchStep, ProbeStep, Refusal, Run, Script, SettleStep, Written};

/// Backends with faults, and jobs for them, generated from one seed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Scenario {
    /// The backends, in order.
    pub runners: Vec<(RunnerName, Script)>,
    /// The jobs.
    pub jobs: Vec<PlannedJob>,
    /// Whether a backend is unreachable at times.
    pub outages: bool,
    /// Whether a backend is unreachable for longer than ten minutes at once.
    pub long_outages: bool,
    /// Whether third parties change, strip, delete and restart attempts.
    pub third_parties: bool,
}

/// A job of a scenario.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PlannedJob {
    /// When it is submitted, since the world's beginning.
    pub submitted: Duration,
    /// When it is cancelled, since its submission.
    pub cancelled: Option<Duration>,
    /// When it is killed, since its submission.
    pub killed: Option<Duration>,
    /// Its timeout.
    pub timeout: Option<Duration>,
    /// Its grace period.
    pub grace: Duration,
    /// How its output is read.
    pub reader: ReaderHabit,
}

/// How a reader reads a job's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReaderHabit {
    /// As it arrives.
    Eager,
    /// With a pause after each piece.
    Slow(Duration),
    /// Stops after this many pieces.
    Leaves(usize),
    /// Does not read at all, as declared at submission.
    None,
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

impl Scenario {
    /// Generates the scenario of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let outages = dice.percent(30);
        let long_outages = outages && dice.percent(30);
        let names = [RunnerName::kubernetes(), RunnerName::docker(), RunnerName::process()];
        let count = usize::try_from(1 + dice.below(3)).unwrap_or(1);
        let runners = names.into_iter().take(count);
        let mut runners: Vec<_> =
            runners.map(|name| (name, script(&mut dice, outages, long_outages))).collect();
        let jobs = (0..=dice.below(4)).map(|_| planned_job(&mut dice)).collect();
        let third_parties = dice.percent(35);
        if third_parties {
            runners.iter_mut().for_each(|(_, script)| meddling::add(&mut dice, script));
        }
        Self { runners, jobs, outages, long_outages, third_parties }
    }
}

fn planned_job(dice: &mut Dice) -> PlannedJob {
    let long = Duration::ZERO..20 * MINUTE;
    PlannedJob {
        submitted: dice.duration(Duration::ZERO..2 * MINUTE),
        cancelled: dice.percent(35).then(|| dice.duration(long.clone())),
        killed: dice.percent(15).then(|| dice.duration(long.clone())),
        timeout: dice.percent(20).then(|| dice.duration(SECOND..10 * MINUTE)),
        grace: dice.duration(Duration::ZERO..MINUTE),
        reader: match dice.below(6) {
            0 => ReaderHabit::None,
            1 => ReaderHabit::Leaves(usize::try_from(dice.below(5)).unwrap_or_default()),
            2 => ReaderHabit::Slow(dice.duration(Duration::ZERO..10 * SECOND)),
            _ => ReaderHabit::Eager,
        },
    }
}

/// Generates up to `most` steps.
fn steps<T>(dice: &mut Dice, most: u64, step: fn(&mut Dice) -> T) -> VecDeque<T> {
    (0..dice.below(most + 1)).map(|_| step(dice)).collect()
}

fn script(dice: &mut Dice, outages: bool, long_outages: bool) -> Script {
    Script {
        latency: dice.duration(Duration::ZERO..2 * SECOND),
        server: None,
        access: None,
        target: None,
        probes: steps(dice, 3, probe),
        launches: steps(dice, 6, launch),
        meddling: VecDeque::new(),
        runs: (0..8).map(|_| run(dice)).collect(),
        settles: steps(dice, 4, settle),
        cancels: steps(dice, 3, call),
        removals: steps(dice, 2, call),
        log_breaks: steps(dice, 3, |dice| usize::try_from(dice.below(6)).unwrap_or_default()),
        outages: if outages { outage_times(dice, long_outages) } else { Vec::new() },
    }
}

fn refusal(dice: &mut Dice) -> Refusal {
    let kind = *dice.one_of(&[
        ErrorKind::Unavailable,
        ErrorKind::Unavailable,
        ErrorKind::Saturated,
        ErrorKind::Unsupported,
        ErrorKind::Denied,
        ErrorKind::InvalidSpec,
        ErrorKind::Internal,
        ErrorKind::ImageUnavailable(ImageReason::Unreachable),
        ErrorKind::ImageUnavailable(ImageReason::NotFound),
        ErrorKind::Rejected(RejectReason::CommandNotFound),
    ]);
    let refusal = Refusal::new(kind);
    if dice.percent(20) { refusal.retry_after(dice.duration(SECOND..5 * MINUTE)) } else { refusal }
}

fn probe(dice: &mut Dice) -> ProbeStep {
    match dice.below(10) {
        0 => ProbeStep::Hang,
        1..=3 => ProbeStep::Fail(Refusal::new(*dice.one_of(&[
            ErrorKind::Unavailable,
            ErrorKind::Unavailable,
            ErrorKind::Denied,
            ErrorKind::Saturated,
        ]))),
        _ => ProbeStep::Well,
    }
}

fn launch(dice: &mut Dice) -> LaunchStep {
    let effect =
        |dice: &mut Dice| dice.percent(60).then(|| dice.duration(Duration::ZERO..2 * MINUTE));
    match dice.below(10) {
        0..=1 => LaunchStep::Refuse(refusal(dice)),
        2..=4 => LaunchStep::AnswerLost {
            effect: effect(dice),
            answer: dice.duration(Duration::ZERO..2 * MINUTE),
        },
        5 => LaunchStep::Hang { effect: effect(dice) },
        6 => LaunchStep::Start { after: dice.duration(MINUTE..30 * MINUTE) },
        _ => LaunchStep::Start { after: dice.duration(Duration::ZERO..MINUTE) },
    }
}

fn run(dice: &mut Dice) -> Run {
    let lasts = dice.duration(Duration::ZERO..60 * MINUTE);
    let code = *dice.one_of(&[0, 0, 0, 1, 42, 137]);
    let mut run = Run::exits(code, lasts);
    if dice.percent(10) {
        run = run.ending_as(Outcome::OutOfMemory { code: 137 });
    } else if dice.percent(10) {
        run = run.ending_as(Outcome::Evicted { message: "simulated".to_owned() });
    }
    if dice.percent(30) {
        run = run.ignoring_term();
    }
    if dice.percent(10) {
        run = run.vanishing(dice.duration(Duration::ZERO..30 * MINUTE));
    }
    let mut at = Duration::ZERO;
    let pieces = dice.below(40);
    run.writing((0..pieces).map(|i| {
        at += dice.duration(Duration::ZERO..MINUTE);
        Written::stdout(at, Bytes::from(format!("line {i}\n")))
    }))
}

fn settle(dice: &mut Dice) -> SettleStep {
    *dice.one_of(&[
        SettleStep::Answer,
        SettleStep::Answer,
        SettleStep::Fail,
        SettleStep::AnswerLost,
        SettleStep::Hang,
    ])
}

fn call(dice: &mut Dice) -> CallStep {
    *dice.one_of(&[CallStep::Answer, CallStep::Fail, CallStep::AnswerLost])
}

/// Generates outages at least two minutes apart. Each is shorter than five minutes, or up to half
/// an hour if `long`.
fn outage_times(dice: &mut Dice, long: bool) -> Vec<std::ops::Range<Duration>> {
    let longest = if long { 30 * MINUTE } else { 4 * MINUTE };
    let mut from = Duration::ZERO;
    let mut outages = Vec::new();
    for _ in 0..=dice.below(3) {
        let start = from + dice.duration(Duration::ZERO..15 * MINUTE);
        let end = start + dice.duration(SECOND..longest);
        outages.push(start..end);
        from = end + 2 * MINUTE;
    }
    outages
}

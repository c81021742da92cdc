//! What third parties do to an attempt on a simulated backend: another client, an admission
//! webhook, or a controller of the backend itself.

use std::time::Duration;

use super::dice::Dice;
use super::script::{Run, Script};

/// What a third party does to the object of one attempt, from its launch on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Meddling {
    /// Nothing.
    #[default]
    Nothing,
    /// It removes Longshore's marks.
    ///
    /// An object that is not committed can then be neither committed nor fenced, so that settling
    /// it proves nothing. A committed one is still found by its name.
    StripsMarks {
        /// When, since the launch.
        after: Duration,
        /// Whether the labels by which `adopt` finds the attempt are among them.
        labels: bool,
        /// How long after that it starts the job itself, if the job is not committed.
        releases: Option<Duration>,
    },
    /// It changes the object when the launch creates it. This replaces the launch's own step.
    Changes {
        /// What it changes, in words.
        difference: String,
        /// What follows.
        effect: Change,
    },
}

/// What follows from a change of an attempt's object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The launch notices before the commit, and refuses with `Unsupported`.
    Refused,
    /// The job starts, and the launch says so.
    Harmless,
    /// The job starts, and the launch returns `Indeterminate`.
    Unclear,
    /// The job is committed and never starts. The launch returns `Indeterminate`, and the attempt
    /// ends as `Rejected`.
    Blocks,
}

/// When and how the backend starts a job's program a second time, without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecondStart {
    /// Beside the first run, this long after its start.
    Beside(Duration),
    /// This long after the first run has ended by itself. With zero, the end shows it.
    AfterTheEnd(Duration),
    /// In place of the first run, which is ended this long after its start. Its own end is lost.
    InPlace(Duration),
}

const MINUTE: Duration = Duration::from_secs(60);

/// Adds third parties to `script`.
pub(super) fn add(dice: &mut Dice, script: &mut Script) {
    script.meddling = (0..6).map(|_| meddling(dice)).collect();
    for run in &mut script.runs {
        meddle_with(dice, run);
    }
}

fn meddling(dice: &mut Dice) -> Meddling {
    match dice.below(4) {
        0 => Meddling::StripsMarks {
            after: dice.duration(Duration::ZERO..5 * MINUTE),
            labels: dice.percent(50),
            releases: dice.percent(30).then(|| dice.duration(Duration::ZERO..MINUTE)),
        },
        1 => {
            let differences = ["label `attempt` is gone", "container `proxy` was added"];
            Meddling::Changes {
                difference: (*dice.one_of(&differences)).to_owned(),
                effect: *dice.one_of(&[
                    Change::Refused,
                    Change::Harmless,
                    Change::Unclear,
                    Change::Blocks,
                ]),
            }
        }
        _ => Meddling::Nothing,
    }
}

fn meddle_with(dice: &mut Dice, run: &mut Run) {
    if dice.percent(10) {
        run.vanishes = Some(dice.duration(Duration::ZERO..30 * MINUTE));
    }
    if dice.percent(25) {
        run.finalizer = Some(dice.duration(Duration::ZERO..20 * MINUTE));
    }
    if dice.percent(30) {
        let after = dice.duration(Duration::ZERO..20 * MINUTE);
        run.second_start = Some(match dice.below(4) {
            0 => SecondStart::Beside(after),
            1 => SecondStart::AfterTheEnd(Duration::ZERO),
            2 => SecondStart::AfterTheEnd(after),
            _ => SecondStart::InPlace(after),
        });
    }
}

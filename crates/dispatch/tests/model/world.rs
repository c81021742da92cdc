//! The world that the model explores: one job, its dispatcher, its journal, two backends, and the
//! requests between them.

/// A runner, and the job's one attempt there. A second attempt on the same runner has another name
/// there, so the protocol treats it like another runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Runner {
    A,
    B,
}

pub(crate) const RUNNERS: [Runner; 2] = [Runner::A, Runner::B];

/// The whole state at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// The process that owns the job. `None` after a crash or when everything is done. The
    /// journal's claim ensures that there is at most one at a time.
    pub(crate) process: Option<Process>,
    pub(crate) journal: Journal,
    pub(crate) backends: [Backend; 2],
    /// Requests under way, in any order. Kept sorted, so that equal worlds compare equal.
    pub(crate) wire: Vec<Request>,
    /// The answer on its way to the process.
    pub(crate) answer: Option<Answer>,
    pub(crate) history: History,
}

/// A dispatcher's process at one step. It may already have sent its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) step: Step,
    pub(crate) asked: bool,
}

/// What a process does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Records that the attempt is about to be launched.
    Intent(Runner),
    /// Requests the preparation, which starts nothing.
    Prepare(Runner),
    /// Requests the start.
    Commit(Runner),
    /// Requests that the attempt never start.
    Fence(Runner),
    /// Records that the attempt started.
    Started(Runner),
    /// Checks the state of the attempt.
    Follow(Runner),
    /// Records that the attempt never started and never will.
    Refused(Runner),
    /// Records the outcome of the job.
    Outcome(Outcome),
    /// Requests the removal of what is left.
    Remove(Runner),
    /// Records that nothing is left.
    Removed,
}

/// The content of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Journal {
    pub(crate) attempts: [Entry; 2],
    pub(crate) outcome: Option<Outcome>,
    pub(crate) removed: bool,
}

/// The record of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    Nothing,
    Intent,
    Started,
    Refused,
}

/// The outcome of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// The job ran there, and its end was read there.
    Ran(Runner),
    /// No runner took it.
    NotRun,
    /// Lost: its state was unknown for `lostAfter`.
    OutOfReach,
    /// Lost: it is not where it should be. In this world, only Longshore removes anything.
    Gone,
}

/// The part of a backend that concerns the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Backend {
    pub(crate) object: Object,
    /// How often it has started the job. 2 means twice or more.
    pub(crate) starts: u8,
}

/// What a backend has under the attempt's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    Absent,
    /// Prepared: it starts when it is committed.
    Open,
    /// It can never start.
    Fenced,
    Running,
    Ended,
}

/// A request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Request {
    pub(crate) to: Runner,
    pub(crate) asks: Ask,
    pub(crate) sender: Sender,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Ask {
    Prepare,
    Commit,
    Fence,
    Look,
    Remove,
}

/// What waits for a request's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Sender {
    /// The process.
    Waits,
    /// A launch that the process no longer waits for, and that continues on its own.
    GoesOn,
    /// Nothing: the request was given up, or its process is dead.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// Not accepted: the request had no effect.
    Refused,
    Prepared,
    Started,
    Fenced,
    MayHaveStarted,
    Seen(Object),
    Removed,
}

/// What the promises refer to and no part of the world remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// Which runners were asked for anything that may lead to a start.
    pub(crate) asked: [bool; 2],
    /// Which attempts were reported as never started.
    pub(crate) never_started: [bool; 2],
    /// How many outcomes were reported. 2 means two or more.
    pub(crate) outcomes: u8,
}

impl World {
    /// A job that was just submitted.
    pub(crate) fn new() -> Self {
        let nothing = Backend { object: Object::Absent, starts: 0 };
        Self {
            process: Some(Process { step: Step::Intent(Runner::A), asked: false }),
            journal: Journal { attempts: [Entry::Nothing; 2], outcome: None, removed: false },
            backends: [nothing; 2],
            wire: Vec::new(),
            answer: None,
            history: History { asked: [false; 2], never_started: [false; 2], outcomes: 0 },
        }
    }

    pub(crate) fn starts(&self, runner: Runner) -> u8 {
        self.backends[runner as usize].starts
    }

    /// Whether nothing is left to do. An attempt that is out of reach is not removed: it may still
    /// run.
    pub(crate) fn is_finished(&self) -> bool {
        self.journal.removed || self.journal.outcome == Some(Outcome::OutOfReach)
    }

    pub(crate) fn send(&mut self, request: Request) {
        self.wire.push(request);
        self.wire.sort_unstable();
    }

    /// The process stops waiting for all answers. A preparation continues to its commit if the
    /// launch that it is part of is `alive`.
    pub(crate) fn hang_up(&mut self, alive: bool) {
        self.answer = None;
        for request in &mut self.wire {
            request.sender = match request.sender {
                Sender::Waits | Sender::GoesOn if alive && request.asks == Ask::Prepare => {
                    Sender::GoesOn
                }
                _ => Sender::Gone,
            };
        }
        self.wire.sort_unstable();
    }
}

//! The world that the model explores: one job, its dispatcher, its journal, two backends, and what
//! is under way between them.

/// A runner, and the job's one attempt there. A second attempt on the same runner has another name
/// there, so it is to the protocol what another runner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Runner {
    A,
    B,
}

pub(crate) const RUNNERS: [Runner; 2] = [Runner::A, Runner::B];

/// All there is at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// The process that has the job in hand; none after a crash or when all is done. There is one
    /// at a time: the journal's claim sees to that.
    pub(crate) process: Option<Process>,
    pub(crate) journal: Journal,
    pub(crate) backends: [Backend; 2],
    /// Requests under way, in any order; kept sorted, so that equal worlds are equal.
    pub(crate) wire: Vec<Request>,
    /// The answer on its way to the process.
    pub(crate) answer: Option<Answer>,
    pub(crate) history: History,
}

/// A dispatcher's process, at one step; a question may have been asked already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) step: Step,
    pub(crate) asked: bool,
}

/// What a process does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// Writes that the attempt is about to be launched.
    Intent(Runner),
    /// Asks for what is harmless.
    Prepare(Runner),
    /// Asks for the start.
    Commit(Runner),
    /// Asks that it never start.
    Fence(Runner),
    /// Writes that it started.
    Started(Runner),
    /// Looks how it is.
    Follow(Runner),
    /// Writes that it never started and never will.
    Refused(Runner),
    /// Writes what became of the job.
    Outcome(Outcome),
    /// Asks that what is left go.
    Remove(Runner),
    /// Writes that nothing is left.
    Removed,
}

/// What is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Journal {
    pub(crate) attempts: [Entry; 2],
    pub(crate) outcome: Option<Outcome>,
    pub(crate) removed: bool,
}

/// What is on record of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    Nothing,
    Intent,
    Started,
    Refused,
}

/// What became of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// It ran there, and how it ended was read there.
    Ran(Runner),
    /// No runner took it.
    NotRun,
    /// Lost: nobody could tell, for `lostAfter`.
    OutOfReach,
    /// Lost: it is not where it should be. Nobody but Longshore removes anything in this world.
    Gone,
}

/// A backend, as far as the job is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Backend {
    pub(crate) object: Object,
    /// How often it has started the job; two stands for more.
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

/// Who waits for a request's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Sender {
    /// The process.
    Waits,
    /// A launch that the process no longer waits for, and that goes on by itself.
    GoesOn,
    /// Nobody: it was given up, or its process is dead.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// Not taken: nothing came of the request.
    Refused,
    Prepared,
    Started,
    Fenced,
    MayHaveStarted,
    Seen(Object),
    Removed,
}

/// What the promises are about and no part of the world remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct History {
    /// Which runners were asked for anything that may lead to a start.
    pub(crate) asked: [bool; 2],
    /// Which attempts were reported as never started.
    pub(crate) never_started: [bool; 2],
    /// How many outcomes were told; two stands for more.
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

    /// Whether nothing is left to do. What is out of reach is not removed: it may still run.
    pub(crate) fn is_finished(&self) -> bool {
        self.journal.removed || self.journal.outcome == Some(Outcome::OutOfReach)
    }

    pub(crate) fn send(&mut self, request: Request) {
        self.wire.push(request);
        self.wire.sort_unstable();
    }

    /// Nobody waits any more for what is under way; a preparation goes on to its commit if the
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

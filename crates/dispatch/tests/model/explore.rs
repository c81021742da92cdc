//! Explores every reachable state, breadth first, so that a broken promise is shown by one of the
//! shortest ways to it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;

use crate::flaw::Flaw;
use crate::promises::{Promise, broken};
use crate::world::{Answer, Ask, Request, Runner, Step, World};
use crate::{backend, dispatcher};

/// The model is meant to be small; it must not have more states than this.
const TOO_MANY: usize = 1_000_000;

/// One step of the world.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Crash,
    Recover(Step),
    Write(Step),
    Send(Runner, Ask),
    Hear(Answer),
    TimeOut,
    LaunchGoesOn,
    GiveUp,
    Deliver(Request),
    Refuse(Request),
    Lose(Request),
    JobEnds(Runner),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash => write!(f, "the process is killed"),
            Self::Recover(step) => write!(f, "another process continues with {step:?}"),
            Self::Write(step) => write!(f, "write {step:?}"),
            Self::Send(to, asks) => write!(f, "send {asks:?} to {to:?}"),
            Self::Hear(answer) => write!(f, "receive {answer:?}"),
            Self::TimeOut => write!(f, "wait no longer"),
            Self::LaunchGoesOn => write!(f, "wait no longer, and the launch continues"),
            Self::GiveUp => write!(f, "give up"),
            Self::Deliver(Request { to, asks, .. }) => write!(f, "{to:?} gets {asks:?}"),
            Self::Refuse(Request { to, asks, .. }) => write!(f, "{to:?} refuses {asks:?}"),
            Self::Lose(Request { to, asks, .. }) => write!(f, "{asks:?} to {to:?} is lost"),
            Self::JobEnds(runner) => write!(f, "the job ends on {runner:?}"),
        }
    }
}

impl Action {
    /// Whether this action is a failure.
    const fn is_failure(self) -> bool {
        matches!(self, Self::Crash | Self::GiveUp | Self::Lose(_))
    }
}

/// The result of an exploration.
#[derive(Default)]
pub(crate) struct Exploration {
    pub(crate) worlds: Vec<Rc<World>>,
    pub(crate) moves: usize,
    /// The shortest way to the first breach of each promise.
    pub(crate) broken: BTreeMap<Promise, Vec<String>>,
    known: HashMap<Rc<World>, usize>,
    /// The world and action from which each world was first reached.
    found: Vec<Option<(usize, Action)>>,
    /// The worlds from which each world is reached without a further failure.
    before: Vec<Vec<usize>>,
}

/// Explores the protocol, or the protocol with a flaw. With a flaw, the number of states may be
/// unlimited: the exploration stops when all the `wanted` promises are broken.
pub(crate) fn explore(flaw: Option<Flaw>, wanted: &[Promise]) -> Exploration {
    let mut found = Exploration::default();
    found.add(World::new(), None);
    let mut at = 0;
    while let Some(world) = found.worlds.get(at).map(Rc::clone) {
        let moves = [dispatcher::moves(&world, flaw), backend::moves(&world, flaw)];
        for (action, next) in moves.into_iter().flatten() {
            found.connect(at, action, next);
        }
        at += 1;
        if !wanted.is_empty() && wanted.iter().all(|it| found.broken.contains_key(it)) {
            return found;
        }
    }
    found.look_for_dead_ends();
    found
}

impl Exploration {
    fn connect(&mut self, from: usize, action: Action, world: World) {
        self.moves += 1;
        let known = self.known.get(&world).copied();
        let to = known.unwrap_or_else(|| self.add(world, Some((from, action))));
        if !action.is_failure() {
            self.before[to].push(from);
        }
    }

    fn add(&mut self, world: World, found: Option<(usize, Action)>) -> usize {
        let at = self.worlds.len();
        assert!(at < TOO_MANY, "more than {TOO_MANY} states");
        let world = Rc::new(world);
        self.known.insert(Rc::clone(&world), at);
        self.found.push(found);
        self.before.push(Vec::new());
        for promise in broken(&world) {
            self.breach(promise, at);
        }
        self.worlds.push(world);
        at
    }

    /// Looks for a state from which no way leads to the end, although nothing more fails.
    fn look_for_dead_ends(&mut self) {
        let mut ends = vec![false; self.worlds.len()];
        let mut next: Vec<_> =
            (0..ends.len()).filter(|&at| self.worlds[at].is_finished()).collect();
        while let Some(at) = next.pop() {
            if !std::mem::replace(&mut ends[at], true) {
                next.extend(&self.before[at]);
            }
        }
        if let Some(at) = ends.iter().position(|&ends| !ends) {
            self.breach(Promise::ComesToItsEnd, at);
        }
    }

    fn breach(&mut self, promise: Promise, at: usize) {
        if !self.broken.contains_key(&promise) {
            let way = self.way_to(at);
            self.broken.insert(promise, way);
        }
    }

    fn way_to(&self, mut at: usize) -> Vec<String> {
        let mut way = Vec::new();
        while let Some((from, action)) = self.found[at] {
            way.push(action.to_string());
            at = from;
        }
        way.reverse();
        way
    }
}

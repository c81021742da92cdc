//! What a backend does with a request, and what happens there on its own.

use crate::explore::Action;
use crate::flaw::Flaw;
use crate::world::{Answer, Ask, Backend, Object, RUNNERS, Request, Runner, Sender, World};

/// Returns everything that can happen to the requests under way and to the running jobs.
pub(crate) fn moves(world: &World, flaw: Option<Flaw>) -> Vec<(Action, World)> {
    let mut found = Vec::new();
    for (at, &request) in world.wire.iter().enumerate() {
        if at > 0 && world.wire[at - 1] == request {
            continue; // To treat its twin first makes no difference.
        }
        let mut rest = world.clone();
        rest.wire.remove(at);
        found.push((Action::Deliver(request), deliver(rest.clone(), request, flaw)));
        if request.asks == Ask::Prepare && request.sender == Sender::Waits {
            let mut refused = rest.clone();
            refused.answer = Some(Answer::Refused);
            found.push((Action::Refuse(request), refused));
        }
        found.push((Action::Lose(request), rest));
    }
    found.extend(RUNNERS.iter().filter_map(|&runner| end(world, runner)));
    found
}

/// Applies the request. Its answer is on its way to the sender if the sender waits for it.
fn deliver(mut world: World, request: Request, flaw: Option<Flaw>) -> World {
    let answer = world.backends[request.to as usize].serve(request.asks, flaw);
    match request.sender {
        Sender::Waits => world.answer = Some(answer),
        Sender::GoesOn if answer == Answer::Prepared => {
            let sender = Sender::Gone;
            world.send(Request { to: request.to, asks: Ask::Commit, sender });
        }
        Sender::GoesOn | Sender::Gone => {}
    }
    world
}

impl Backend {
    /// Each request is one atomic step: of a commit and a fence, exactly one wins.
    fn serve(&mut self, asks: Ask, flaw: Option<Flaw>) -> Answer {
        match asks {
            Ask::Prepare => self.prepare(),
            Ask::Commit => self.commit(flaw),
            Ask::Fence => self.fence(flaw),
            Ask::Look => Answer::Seen(self.object),
            Ask::Remove => {
                // A fenced attempt stays fenced.
                if self.object != Object::Fenced {
                    self.object = Object::Absent;
                }
                Answer::Removed
            }
        }
    }

    fn prepare(&mut self) -> Answer {
        match self.object {
            Object::Absent | Object::Open => {
                self.object = Object::Open;
                Answer::Prepared
            }
            Object::Fenced => Answer::Refused,
            Object::Running | Object::Ended => Answer::Started,
        }
    }

    fn commit(&mut self, flaw: Option<Flaw>) -> Answer {
        match self.object {
            Object::Fenced if flaw != Some(Flaw::TheCommitIsNotGuarded) => Answer::Refused,
            Object::Open | Object::Fenced => {
                self.object = Object::Running;
                self.starts = 2.min(self.starts + 1);
                Answer::Started
            }
            Object::Running | Object::Ended => Answer::Started,
            // This proves nothing: the name is free.
            Object::Absent => Answer::MayHaveStarted,
        }
    }

    fn fence(&mut self, flaw: Option<Flaw>) -> Answer {
        match self.object {
            Object::Absent if flaw == Some(Flaw::TheFenceLeavesNoMark) => Answer::Fenced,
            Object::Absent | Object::Open | Object::Fenced => {
                self.object = Object::Fenced;
                Answer::Fenced
            }
            Object::Running | Object::Ended => Answer::MayHaveStarted,
        }
    }
}

/// The job ends on its own.
fn end(world: &World, runner: Runner) -> Option<(Action, World)> {
    let mut next = world.clone();
    let object = &mut next.backends[runner as usize].object;
    if *object != Object::Running {
        return None;
    }
    *object = Object::Ended;
    Some((Action::JobEnds(runner), next))
}

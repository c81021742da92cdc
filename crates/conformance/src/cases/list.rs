//! Every case.

use super::{
    adopt, cancel, directory, environment, events, images, launch, leftovers, limits, load, logs,
    outcome, plan, probe, remove, settle, timeout, tree, volume,
};
use crate::case::Case;

/// The cases that run before all others, one by one: they measure the memory of this process.
pub(crate) fn first() -> Vec<Case> {
    volume::cases()
}

/// Every case that may run beside the others.
pub(crate) fn all() -> Vec<Case> {
    [
        // The longest ones first, so that they do not run alone at the end.
        load::cases(),
        settle::cases(),
        cancel::cases(),
        tree::cases(),
        launch::cases(),
        outcome::cases(),
        timeout::cases(),
        events::cases(),
        logs::cases(),
        adopt::cases(),
        remove::cases(),
        plan::cases(),
        probe::cases(),
        directory::cases(),
        environment::cases(),
        limits::cases(),
        images::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The cases that run when all others are done.
pub(crate) fn last() -> Vec<Case> {
    leftovers::cases()
}

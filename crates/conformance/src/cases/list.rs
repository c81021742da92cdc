//! The lists of all cases.

use super::{
    adopt, cancel, directory, environment, events, exec, images, launch, leftovers, limits, load,
    logs, mounts, much_output, outcome, plan, probe, racing, remove, security, settle, signal,
    stdin, timeout, times, tree, tty,
};
use crate::case::Case;

/// Returns the cases that run before all others, one at a time, as they measure this process's
/// memory.
pub(crate) fn first() -> Vec<Case> {
    much_output::cases()
}

/// Returns the cases that may run concurrently.
pub(crate) fn all() -> Vec<Case> {
    [
        // The longest first, so that they do not run alone at the end.
        load::cases(),
        settle::cases(),
        racing::all(),
        cancel::cases(),
        signal::cases(),
        exec::cases(),
        tree::cases(),
        launch::cases(),
        outcome::cases(),
        timeout::cases(),
        events::cases(),
        logs::cases(),
        times::cases(),
        adopt::cases(),
        remove::cases(),
        plan::cases(),
        probe::cases(),
        directory::cases(),
        environment::cases(),
        stdin::cases(),
        tty::cases(),
        limits::cases(),
        mounts::cases(),
        security::cases(),
        images::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns the cases that run after all others.
pub(crate) fn last() -> Vec<Case> {
    leftovers::cases()
}

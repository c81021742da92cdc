//! Explores every state that the commit protocol can reach.
//!
//! This is a model, not the code: one job, two runners, a dispatcher that may crash between any two
//! steps and is followed by another, and requests that are delayed, lost, or lost after they took
//! effect. `docs/fallback.md` has its diagram; `page` checks that page against the sources.
//! `tests/it/simulation.rs` runs the real dispatcher. The model does not contain jobs, containers
//! or Pods that another user deletes, nor a start that is undone after the commit.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking, as its tests do")]

mod backend;
mod dispatcher;
mod explore;
mod flaw;
mod page;
mod promises;
mod protocol;
mod world;

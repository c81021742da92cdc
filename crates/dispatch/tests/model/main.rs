//! The commit protocol, explored in every state that it can get into.
//!
//! A model, not the code: one job, two runners, a dispatcher that may crash between any two steps
//! and is followed by another, and requests that are delayed, lost, or lost after they took effect.
//! `docs/fallback.md` has its diagram; `page` holds that page to the sources. The dispatcher itself is played in `tests/it/simulation.rs`.
//! Not in the model: jobs, containers or Pods that somebody else deletes, and a start that is taken
//! back after the commit.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking, as its tests do")]

mod backend;
mod dispatcher;
mod explore;
mod flaw;
mod page;
mod promises;
mod protocol;
mod world;

//! Faults between Longshore and the engine while a job runs.

pub(crate) mod attached;
pub(crate) mod events;
pub(crate) mod evidence;
pub(crate) mod output;
pub(crate) mod outside;
pub(crate) mod refusals;
pub(crate) mod restarts;
pub(crate) mod strangers;
pub(crate) mod targets;
pub(crate) mod tls;
pub(crate) mod wire;

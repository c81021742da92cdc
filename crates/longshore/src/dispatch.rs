//! Dispatching: the dispatcher, its builder, its policies, and what it reports about itself.

#[cfg(feature = "metrics")]
pub use longshore_dispatch::MetricsObserver;
pub use longshore_dispatch::{
    Adopted, BreakerState, BuildError, Dispatcher, DispatcherBuilder, Fate, Lagged, LastProbe,
    Leftover, Observer, PolicyViolation, Reaped, RunnerError, RunnerEvent, RunnerPlan,
    RunnerStatus, SpecPolicy,
};

pub use crate::assembly_error::AssemblyError;
pub use crate::build::{builder, dispatcher};

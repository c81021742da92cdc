//! A runner in memory whose backend follows a script, faults included.
//!
//! Tests of code that uses the [`Runner`](longshore_core::Runner) trait need it. A [`World`] holds
//! the ledger ([`Entry`]): what truly happened on every simulated backend, whatever its runner
//! answered. All times are tokio's, so a test under paused time does not wait. The same [`Script`]s
//! always give the same run; [`Scenario`] creates scripts from a seed.
//!
//! ```
//! use longshore_conformance::simulated::{LaunchStep, Refusal, Script, World};
//! use longshore_core::{ErrorKind, RunnerName};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let world = World::new();
//! let mut script = Script::default();
//! script.launches.push_back(LaunchStep::Refuse(Refusal::new(ErrorKind::Saturated)));
//! let runner = world.runner(RunnerName::docker(), script);
//! assert!(world.ledger().is_empty());
//! # drop(runner);
//! # }
//! ```

mod backend;
mod check;
mod dice;
mod launch;
mod ledger;
mod live;
mod meddling;
mod runner;
mod scenario;
mod script;
mod streams;

pub use check::{Observed, check};
pub use dice::Dice;
pub use ledger::{Entry, What};
pub use meddling::{Change, Meddling, SecondStart};
pub use runner::{SimulatedRunner, World};
pub use scenario::{PlannedJob, ReaderHabit, Scenario};
pub use script::{CallStep, LaunchStep, ProbeStep, Refusal, Run, Script, SettleStep, Written};

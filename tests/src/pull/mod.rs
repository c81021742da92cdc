//! The pull-policy matrix: the same table of cases on Kubernetes and on both Docker engines,
//! against real registries that are healthy, and against faulty ones.
//!
//! - `table` has the cells and their expected results, `choice` selects the cells to play.
//! - `shop` has the lab's registries, `images` what is pushed to them. `faulty` and `spoilt` are a
//!   layer in front of them that changes answers, `toxiproxy` one that changes the network.
//! - `station` is a backend, `play` plays a cell on it, `once` counts the pulls of many jobs.
//! - `matrix` compares the backends, `run` runs everything.

mod choice;
pub(crate) mod faulty;
mod http;
pub(crate) mod images;
mod matrix;
mod once;
mod play;
mod run;
pub(crate) mod shop;
mod spoilt;
mod station;
mod table;
mod toxiproxy;

pub use run::main;

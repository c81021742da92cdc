//! The pull-policy matrix: the same table of cases on Kubernetes and on both Docker engines,
//! against real registries that are well, and against such as are not.
//!
//! - `table` is the cells and what each must come to, `choice` which of them are played.
//! - `shop` is the lab's registries, `images` what is pushed to them; `faulty` and `spoilt` a layer
//!   in front of them that changes answers, `toxiproxy` one that changes the network.
//! - `station` is a backend, `play` plays a cell on it, `once` counts the pulls of many jobs.
//! - `matrix` puts the backends side by side, `run` runs it all.

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

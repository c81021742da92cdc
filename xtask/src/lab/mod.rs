//! The lab: a real Docker engine, a real registry and a real Kubernetes on
//! this machine, under `target/lab` of the checkout.
//!
//! Where to look:
//! - `layout` defines where everything is, `network` and `component` what runs.
//! - `docker`, `registry`, `toxiproxy`, `etcd`, `containerd`, `control_plane`,
//!   `kubelet`, `api_service`: the components. A new one implements `component::Component` and is
//!   listed in `component::all`.
//! - `packages`, `build`, `certificates`, `login`, `images`, `cluster`: the steps
//!   between; `up` puts steps and components into one graph (`graph`).
//! - `process` and `state` start, record and stop processes; `down` and `clean`
//!   remove everything.

mod api_service;
mod build;
mod certificates;
mod cgroup;
mod clean;
mod cluster;
mod component;
mod containerd;
mod control_plane;
mod docker;
mod down;
mod etcd;
mod existing;
mod graph;
pub(crate) mod http;
mod images;
mod kubelet;
pub(crate) mod layout;
mod login;
mod network;
mod packages;
mod port;
pub(crate) mod process;
mod registry;
pub(crate) mod shell;
mod show;
mod state;
mod toxiproxy;
mod up;

pub use component::{Group, start, stop};
pub use docker::run_engine;
pub use down::down;
pub use layout::Lab;
pub use show::{environment, is_up, print_env, status};
pub use up::{UpOptions, up};

//! The lab of the tests: a real Docker engine, a real registry and a real Kubernetes on
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
//!
//! `cargo xtask lab` is its command. Tests use it directly, for example to stop the API server
//! under a running job.

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
mod http;
mod images;
mod kubelet;
mod layout;
mod login;
mod network;
mod packages;
mod port;
mod process;
mod registry;
mod show;
mod state;
mod toxiproxy;
mod up;

pub mod shell;

pub use cgroup::abandoned as abandoned_cgroups;
pub use component::{Group, start, stop};
pub use docker::run_engine;
pub use down::down;
pub use http::{Response, Server};
pub use layout::{Lab, NAMESPACE, checkout, make_dir};
pub use process::{command_name, process_ids};
pub use show::{environment, is_up, print_env, status};
pub use up::{UpOptions, up};

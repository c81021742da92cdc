//! Longshore's runner for Kubernetes Jobs.
//!
//! One attempt is one `batch/v1` Job with one Pod. Longshore creates the Job suspended, which
//! starts nothing, and releases it by a JSON patch that succeeds only if the Job has not been
//! fenced. The fence is a patch that succeeds only if the Job has not been released. Exactly one of
//! the two patches wins, whichever process sends it and however late it arrives.
//!
//! One watch each on Jobs, Pods and the Pods' Events serves all attempts of an installation;
//! nothing is polled. The outcome is read from the status of the container.
//!
//! Differences from the other runners:
//!
//! - Stdout and stderr come as one stream.
//! - The cluster limits the number of processes and the network, not the job.
//! - Once a grace period has begun, the kubelet does not shorten it.
//! - A grace period other than the job's own deletes the Pod together with its logs. A process that
//!   follows the logs still gets all of them.
//!
//! # Permissions
//!
//! The runner needs this Role in the namespace of the jobs. Some of its permissions are optional; a
//! probe reports those that are missing, and what does not work without them. The runner also reads
//! the namespace, if it may, and reviews its own permissions, which every account may do.
//!
#![doc = concat!("```yaml\n", include_str!("../role.yaml"), "```\n")]
//!
//! # Output
//!
//! A kubelet rotates a container's log and shows only the newest file, by default of 10 MiB. Output
//! that a reader loses by that is reported as a gap. One loss cannot be detected: if the output was
//! rotated before the first read, the job seems to have been silent at first. Follow a job from its
//! start to avoid that.

mod admission;
mod adopt;
mod amounts;
mod api;
mod backend;
mod bounded;
mod cache;
mod check;
mod client;
mod config;
mod container_view;
mod credential;
mod credential_plugin;
mod cursor;
mod discards;
mod error;
mod escape;
mod event_watch;
mod exec;
mod exec_failure;
mod finding;
mod follow;
mod informer;
mod job_view;
mod kubeconfig;
mod labels;
mod launch;
mod location;
mod log_reader;
mod logs;
mod meta;
mod names;
mod outcome;
mod owner;
mod owner_pod;
mod phase_clock;
mod plan;
mod pod_spec_view;
mod pod_template;
mod pod_view;
mod probe;
mod proxy;
mod pull;
mod pull_history;
mod questions;
mod refusal;
mod resources;
mod runner;
mod secret;
mod security;
mod server_clock;
mod settle;
mod snapshot;
mod snapshot_updates;
mod start_state;
mod stdin;
mod strict;
mod submit;
mod subscription;
mod target;
mod terminal;
mod termination;
mod timestamps;
mod translate;
mod warnings;
mod watch;
mod watch_request;
mod withdraw;

#[doc(hidden)]
pub mod fuzzing;

pub use amounts::{Amounts, DefaultResources};
pub use config::{DnsPolicy, KubernetesConfig};
pub use owner_pod::OwnerPod;
pub use pod_template::PodTemplate;
pub use runner::KubernetesRunner;
pub use strict::{Affinity, HostAlias, PodDNSConfig, Toleration, TopologySpreadConstraint};

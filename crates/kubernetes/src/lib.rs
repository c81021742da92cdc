//! Longshore's runner for Kubernetes Jobs.
//!
//! One attempt is one `batch/v1` Job with one Pod. It is created suspended, which starts nothing,
//! and released by a JSON patch that only succeeds if nobody has fenced it; the fence is a patch
//! that only succeeds if nobody has released it. Of the two exactly one wins, whoever asks, from
//! whichever process, and however late a request arrives.
//!
//! Jobs, Pods and the Pods' Events are watched, one watch each for all attempts of an
//! installation; nothing is polled. The outcome is read from the container's status.
//!
//! What differs from the other runners: stdout and stderr come as one stream; the number of
//! processes and the network are the cluster's to limit; a grace period once begun is not
//! shortened by the kubelet; and one that is not the job's own can be had only at the price of the
//! Pod's logs, which then go with it (who follows them gets them all).
//!
//! # What it must be allowed
//!
//! This Role, in the namespace of the jobs; nothing of it can be left out. Without what is wished for
//! it works, and says what it then does without. Beside it, it reads the namespace, if it may, and
//! asks for its own permissions, which everybody may.
//!
#![doc = concat!("```yaml\n", include_str!("../role.yaml"), "```\n")]
//!
//! # Output
//!
//! A kubelet rotates a container's log and shows only the newest file, by default of 10 MiB. What a
//! reader loses by that is a gap in the output. Not told apart from a job that was silent at first
//! is one whose output was rotated before anybody read it: follow a job from its start.

mod api;
mod client;
mod clock;
mod config;
mod container_view;
mod cursor;
mod ending;
mod error;
mod events;
mod expand;
mod fold;
mod follow;
mod hub;
mod inner;
mod job_view;
mod launch;
mod logs;
mod names;
mod outcome;
mod place;
mod plan;
mod pod_view;
mod probe;
mod pull;
mod pull_history;
mod read_back;
mod refusal;
mod runner;
mod secret;
mod settle;
mod shape;
mod stamps;
mod start;
mod submit;
mod translate;
mod view;
mod warnings;
mod watching;
mod withdraw;

pub use config::KubernetesConfig;
pub use runner::KubernetesRunner;

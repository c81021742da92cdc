//! Longshore's runner for the Docker Engine API, from version 1.41 (Docker 20.10) on.
//!
//! Each attempt is one container, named `longshore-ATTEMPT`. Its labels (`longshore.dev/…`) say
//! whose it is and hold what another process needs to follow it: the timeout, the grace period,
//! the image as requested, its digest, the pull policy and whether a registry was consulted.
//!
//! # At most once
//! The engine gives a name to one container only, and takes the start and the removal of one
//! container one after the other. From these two everything follows: who created the container
//! starts it, once, by its id; who wants to know that it never will removes it, unless it runs,
//! and takes its name with a *mark*.
//!
//! A mark is a container without an image that never runs. The name `longshore-ATTEMPT` held by a
//! mark says that the attempt is fenced; `longshore-ATTEMPT-end` that it was cancelled or has run
//! out of time, which must be told apart from any other death by a signal, by every process.
//! [`remove`](longshore_core::Runner::remove) takes marks away together with the container.
//!
//! # Images
//! A job's container is created from the id of the image that was found or pulled, so that a tag
//! that moves meanwhile changes nothing. The engine is asked to pull once for all jobs that wait for
//! one image with one login; when it is asked again, and for how long, is the launch's context to
//! say. A name with a tag and a digest means the digest, as for the kubelet.
//!
//! A pull that nobody waits for any more is given up by closing its request. An engine with the
//! containerd store then ends its connection to the registry; one with its own store (20.10) ends
//! the pull, but keeps a connection on which the registry says nothing until that ends by itself.
//!
//! The digest that is reported is the one that the reference names at its registry, which is the
//! index's for a multi-architecture image, and none for an image that was built, loaded or imported
//! here. Two things an engine may not tell:
//! - With the containerd store, before Docker 29.3 (API 1.53): whether an image was pulled. Each is
//!   then reported with a digest.
//! - With its own store: which of several digests of one repository, all pulled, a tag names. Then
//!   the first is reported.
//!
//! # Requests
//! A job whose image is here and whose command is known takes five: inspect the image, create,
//! start, logs, remove. Its end comes by one stream of events for all jobs of the runner.
//!
//! # Secrets
//! The values of a job's secret environment go to the engine in the container's environment, where
//! everybody who may inspect containers sees them; so do they in what the client library logs of
//! answers at the level `debug`, which a program that keeps secrets out of its log turns off
//! (target `bollard`).

mod backend;
mod client;
mod command;
mod config;
mod credentials;
mod end;
mod endpoint;
mod fault;
mod follow;
mod gather;
mod image;
mod image_fault;
mod inventory;
mod labels;
mod launch;
mod life;
mod logs;
mod outcome;
mod place;
mod probe;
mod progress;
mod pull;
mod runner;
mod settle;
mod sight;
mod translate;
mod watcher;

pub use config::DockerConfig;
pub use runner::DockerRunner;

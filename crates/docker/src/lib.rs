//! Longshore's runner for the Docker Engine API, from version 1.41 (Docker 20.10) on.
//!
//! Each attempt is one container, named `longshore-ATTEMPT`. Its labels (`longshore.dev/…`) say
//! whose it is and hold what another process needs to follow it: the timeout, the grace period,
//! the image as requested, its digest, the pull policy and whether a registry was consulted.
//!
//! # At most once
//! The engine gives a name to one container only, and it serialises the start and the removal of
//! one container. The protocol relies on these two properties:
//! - The launch that creates the container starts it, once, by its id.
//! - A process that must be sure that an attempt never starts removes the container, unless it
//!   runs, and takes its name with a *mark*.
//!
//! A container is an attempt's if it has both the attempt's name and its labels, and is on the engine
//! that the attempt's handle names. Another engine is not asked about the attempt.
//!
//! A mark is a container without an image that never runs. A mark named `longshore-ATTEMPT` says
//! that the attempt is fenced. A mark named `longshore-ATTEMPT-end` says that the attempt was
//! cancelled or has run out of time; with it, every process can distinguish these ends from any
//! other death by a signal. [`remove`](longshore_core::Runner::remove) removes marks together with
//! the container.
//!
//! # Images
//! A job's container is created from the id of the image that was found or pulled, so a tag that
//! moves in the meantime changes nothing. All jobs that wait for one image with one login share one
//! pull; the launch's context decides whether and for how long a pull is retried. A reference with
//! a tag and a digest means the digest, as for the kubelet.
//!
//! The runner abandons a pull that no launch waits for by closing its request. An engine with the
//! containerd store then closes its connection to the registry. An engine with its own store
//! (20.10) ends the pull, but keeps a connection on which the registry is silent until that
//! connection ends.
//!
//! The reported digest is the one that the reference names at its registry: that of the index for a
//! multi-architecture image, and none for an image that was built, loaded or imported here. Two
//! facts are not available from every engine:
//! - With the containerd store, before Docker 29.3 (API 1.53): whether an image was pulled. Every
//!   image is then reported with a digest.
//! - With the engine's own store: which of several pulled digests of one repository a tag names.
//!   The first one is then reported.
//!
//! # Requests
//! A job whose image is on the engine and whose command is known takes five requests: inspect the
//! image, create, attach or logs, start, remove. A command of its own adds a ping, and one or two looks
//! at the command's file in the created container. One stream of events reports the ends of all jobs of the
//! runner.
//!
//! # Secrets
//! The values of a job's secret environment are part of the container's environment on the engine.
//! Every user who may inspect containers can read them.
//!
//! # Bounds
//! Each answer, line, record and head has a bound, and a time limit if it is not as long as the job.
//! An engine that sends more, or what pretends to be one, costs no more memory than that. This is why
//! the crate makes its own requests: bollard reads without a bound. Its models are in use.

mod attached;
mod backend;
mod batch;
mod body;
mod client;
mod command;
mod config;
mod connection;
mod container;
mod container_event;
mod credentials;
mod endpoint;
mod exec;
mod fault;
mod follow;
mod greeting;
mod http;
mod image;
mod image_fault;
mod informer;
mod inventory;
mod labels;
mod launch;
mod locate;
mod location;
mod logs;
mod marks;
mod outcome;
mod ownership;
mod past_events;
mod probe;
mod pull;
mod pull_progress;
mod records;
mod refusal;
mod runner;
mod running;
mod security;
mod settle;
mod signal;
mod signals;
mod snapshot;
mod stdin;
mod strangers;
mod target;
mod terminal;
mod termination;
mod translate;
mod zone;

#[doc(hidden)]
pub mod fuzzing;

pub use config::DockerConfig;
pub use runner::DockerRunner;

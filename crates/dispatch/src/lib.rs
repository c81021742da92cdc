//! Chooses the runner of a job, falls back to others, and follows the job to its end.
//!
//! A [`Dispatcher`] holds the configured runners in order. [`Dispatcher::submit`] returns a
//! [`Job`]: its progress, its output, a way to cancel it, and its one result.
//!
//! # What decides whether the next runner is tried
//!
//! | the launch, settled | next runner? | breaker |
//! |---|---|---|
//! | `Unsupported` | yes | untouched |
//! | refused: `Unavailable` | yes | trips |
//! | refused: `Saturated` | yes | untouched; a `Retry-After` is honoured |
//! | refused: `ImageUnavailable` | only where `fallbackOn` names it | untouched |
//! | refused: `Denied` | only where `fallbackOn` names it | untouched |
//! | refused: `Rejected`, `InvalidSpec`, `Internal` | never | untouched |
//! | started, or may have started | never | untouched |
//!
//! A job is committed at most once. An attempt that may have started is settled (fenced, or known
//! to have started) before anything else happens, and is never replaced by another one.
//!
//! # Invariants
//!
//! - One task per job; no queue without a bound; no wait without an end or a cancel.
//! - A running launch is never dropped: it is cancelled through its context and awaited.
//! - This crate depends on no backend, only on [`longshore_core::Runner`].

mod abandoned;
mod adopt;
mod attach;
mod attach_all;
mod attach_to;
mod attempt;
mod attempt_client;
mod breaker;
mod builder;
mod cancel;
mod candidate;
mod credentials;
mod directory;
mod dispatcher;
mod event_sink;
mod exec;
mod expected_end;
mod fail_point;
mod fallback;
mod feed;
mod follow;
mod glob;
mod guarded;
mod image_preview;
mod input;
mod job;
mod job_event;
mod jobs;
mod late_stdin;
mod launch;
mod launches;
mod leftover;
mod log_window;
mod logs;
#[cfg(feature = "metrics")]
mod metrics_observer;
mod observe;
mod observer;
mod outages;
mod output;
mod patience;
mod pin;
mod places;
mod policy;
mod policy_rules;
mod prefix;
mod queue;
mod reaper;
mod record;
mod relaunch;
mod reload;
mod report;
mod roster;
mod runner_status;
mod running;
mod secrets;
mod security;
mod selection;
mod settings;
mod settle;
mod signal;
mod spans;
mod spec_policy;
mod standing;
mod stdin;
mod stopped;
mod store;
mod stranded;
mod submit;
mod take_up;
mod taken;
mod tally;
mod task;
mod unrecorded;
mod volumes;

pub use adopt::Adopted;
pub use builder::{BuildError, DispatcherBuilder};
pub use cancel::Canceller;
pub use dispatcher::Dispatcher;
pub use feed::Lagged;
pub use glob::{ImageGlob, ImageGlobError, ImagePullPolicyRule};
pub use job::{Detached, DetachedJob, Job, JobEvents, JobLogs, Submission};
pub use job_event::JobEvent;
pub use leftover::{Fate, Leftover};
pub use log_window::LogWindow;
#[cfg(feature = "metrics")]
pub use metrics_observer::MetricsObserver;
pub use observer::{Observer, RunnerEvent};
pub use policy::{EffectivePullPolicy, PullPolicyOrigin};
pub use prefix::{ImageRegistryPrefix, ImageRegistryPrefixError};
pub use reaper::Reaped;
pub use report::{Examination, ImagePreview, LoginName, RunnerHealth, RunnerImage, RunnerPlan};
pub use runner_status::{BreakerState, LastProbe, RunnerError, RunnerStatus};
pub use settings::{FallbackReason, Isolation, Settings};
pub use spec_policy::{PolicyViolation, SpecPolicy};
pub use standing::WhenFull;
pub use stopped::Stopped;

//! The dispatcher over simulated backends, under paused time.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking, as its tests do")]

mod adopting;
mod cancelling;
mod careless;
mod crashes;
mod dropping;
mod elsewhere;
mod falling_back;
mod feeding;
mod following;
mod giving;
mod hanging;
mod hostile;
mod launching;
mod metrics;
mod mortal;
mod observing;
mod output;
mod panicking;
mod pinning;
mod pulling;
mod queueing;
mod reading;
mod recovering;
mod registry;
mod relaunching;
mod reloading;
mod remembering;
mod restarting;
mod round_trip;
mod settling;
mod showing;
mod simulation;
mod status;
mod stranded;
mod strangers;
mod submitting;
mod subscribing;
mod support;
mod third_parties;
mod tracing;

//! The cases, grouped by what people rely on.

mod attach;
mod bad_files;
mod bad_jobs;
mod bad_settings;
mod case;
mod disruptive;
mod docker_only;
mod doctor;
mod fallback;
mod helm;
mod helm_examples;
mod helm_lost;
mod helm_upgrade;
mod images;
mod jobs;
mod kill;
mod kubernetes_only;
mod live_restore;
mod lost_journal;
mod operating;
mod outcomes;
mod output;
mod plan;
mod process_only;
mod results;
mod secrets;
mod settings;
mod signals;
mod stdin;
mod stories;
mod table;
mod timeouts;

pub(crate) use case::Case;
pub(crate) use kubernetes_only::changed;
pub(crate) use table::of;

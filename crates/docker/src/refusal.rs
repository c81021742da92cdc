//! Why the engine refused to create or to start a container. Pure.
//!
//! A mistake that every runner meets ends the search for a runner: `Rejected` or `InvalidSpec`. A
//! mistake in this runner's configuration, or a limit of this engine, passes the runner over:
//! `Unsupported`. Only a failure of the engine itself is `Unavailable`.

use longshore_core::{ErrorKind, ImageReason, RejectReason, StartError, start_error};

/// The request that the engine refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    Start,
}

/// Text in lower case, in messages of the engine, that shows a mistake in this runner's
/// configuration or a limit of this engine. All parts must occur.
const OF_THIS_ENGINE: &[&[&str]] = &[
    // `job.docker.network`. Docker 29 writes "failed to set up container networking: " before it.
    &["network ", " not found"],
    &["no such network"],
    // `job.docker.network: container:NAME`.
    &["no such container"],
    &["cannot join network"],
    &["non running container"],
    // The engine does not see this machine's job directory.
    &["bind source path does not exist"],
    // It has no runtime for GPUs.
    &["could not select device driver"],
    &["error looking up logging plugin"],
    &["not supported"],
    &["does not support"],
];

/// The kind of the engine's answer `message` with `status`.
pub(crate) fn kind(step: Step, status: u16, message: &str) -> ErrorKind {
    let said = message.to_lowercase();
    let says = |parts: &&[&str]| parts.iter().all(|part| said.contains(part));
    match status {
        401 | 403 => return ErrorKind::Denied,
        429 => return ErrorKind::Saturated,
        404 if step == Step::Create && said.contains("no such image") => {
            return ErrorKind::ImageUnavailable(ImageReason::NotPresent);
        }
        _ if OF_THIS_ENGINE.iter().any(says) => return ErrorKind::Unsupported,
        _ => {}
    }
    match start_error(message) {
        StartError::Job(reason) => ErrorKind::Rejected(reason),
        StartError::Host => ErrorKind::Unsupported,
        StartError::Runtime => ErrorKind::Unavailable,
        _ => of_status(step, status, &said),
    }
}

/// The kind of an answer whose message proves nothing.
fn of_status(step: Step, status: u16, said: &str) -> ErrorKind {
    match (step, status) {
        (Step::Create, 400) => ErrorKind::InvalidSpec,
        (_, 500..) if !is_of_the_runtime(said) => ErrorKind::Unavailable,
        _ => ErrorKind::Rejected(RejectReason::ContainerConfig),
    }
}

/// Whether the OCI runtime refused this very container. Without that, a 5xx says only that the engine
/// failed.
fn is_of_the_runtime(said: &str) -> bool {
    said.contains("oci runtime create failed")
}

/// Whether the engine's answer to a start says that the container `id` is removed, or being removed.
pub(crate) fn is_gone(status: u16, message: &str, id: &str) -> bool {
    status == 409 || (status == 404 && message.contains(id))
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;

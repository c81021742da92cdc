//! The readers of what a cluster sends, for the fuzz targets (`fuzz`). Not part of the interface:
//! they may change at any time.
//!
//! They are not behind a feature, because the workspace would then compile this crate twice.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as Told, Pod};
use kube::core::WatchEvent;
use longshore_core::{ErrorKind, Event, ImageReason, Report};
use serde_json::Value;
use tokio::time::Instant;

use crate::job_view::JobView;
use crate::pod_view::PodView;
use crate::pull::{self, PullFailure};
use crate::snapshot::Snapshot;
use crate::start_state::{EventReporter, at_deadline, image_wait, never_started, start_state};
use crate::timestamps::TimestampStripper;
use crate::{outcome, refusal};

/// Removes the kubelet's times from a log that arrives in `pieces`.
pub fn strip_times<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut stripper, mut out, now) =
        (TimestampStripper::new(Timestamp::UNIX_EPOCH, Instant::now()), Vec::new(), Instant::now());
    for piece in pieces {
        stripper.strip(piece, &mut out, now);
    }
    stripper.finish(&mut out);
    out
}

/// Classifies what a kubelet says about an image: the reason, if it is definite, and the message.
#[must_use]
pub fn classify_pull(reason: &str, message: &str) -> Option<(Option<ImageReason>, String)> {
    pull::judge_waiting(reason, message, None).map(|failure| match failure {
        PullFailure::Definite(why, said) => (Some(why), said),
        PullFailure::Transient(said)
        | PullFailure::NameRefused(said)
        | PullFailure::WithoutLogin(_, said) => (None, said),
    })
}

/// Classifies the API server's message about a refused object.
#[must_use]
pub fn classify_refusal(message: &str) -> Option<ErrorKind> {
    refusal::classify(message)
}

/// Follows an attempt through the states of its objects, and returns the events and the end that a
/// follower reports. Each state comes as an event of a watch.
#[must_use]
pub fn follow(states: Vec<WatchEvent<Value>>) -> (Vec<Event>, Option<Report>) {
    let (mut snapshot, mut reporter, mut events) =
        (Snapshot::default(), EventReporter::default(), Vec::new());
    let mut report = None;
    for state in states {
        match state {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                apply(&mut snapshot, object, false);
            }
            WatchEvent::Deleted(object) => apply(&mut snapshot, object, true),
            WatchEvent::Bookmark(_) | WatchEvent::Error(_) => {}
        }
        events.extend(reporter.new_events(&snapshot));
        let _ = (start_state(&snapshot), image_wait(&snapshot, false), never_started(&snapshot));
        let _ = (at_deadline(&snapshot, None), outcome::undecided_until(&snapshot));
        report = report.or_else(|| outcome::conclude(&snapshot, Instant::now()));
    }
    (events, report)
}

fn apply(snapshot: &mut Snapshot, object: Value, is_deleted: bool) {
    match object["kind"].as_str() {
        Some("Pod") => {
            let Ok(pod) = serde_json::from_value::<Pod>(object) else { return };
            match is_deleted {
                true => snapshot.remove_pod(PodView::from(&pod)),
                false => snapshot.apply_pod(PodView::from(&pod)),
            }
        }
        Some("Job") => {
            let Ok(job) = serde_json::from_value::<Job>(object) else { return };
            match is_deleted {
                true => snapshot.remove_job(Some(JobView::from(&job))),
                false => snapshot.apply_job(JobView::from(&job)),
            }
        }
        Some("Event") => {
            let Ok(event) = serde_json::from_value::<Told>(object) else { return };
            let is_warning = event.type_.as_deref() == Some("Warning");
            let text = |text: Option<String>| text.unwrap_or_default();
            snapshot.apply_event(is_warning, &text(event.reason), &text(event.message));
        }
        _ => {}
    }
}

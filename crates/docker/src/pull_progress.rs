//! A pull's progress, from its messages. Pure.

use std::collections::HashMap;

use bollard_stubs::models::CreateImageInfo;

/// What one message reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    /// Nothing new: an engine with the containerd store repeats its messages ten times a second.
    Unchanged,
    /// Progress.
    Progress,
    /// The registry gave no answer for a layer; the engine retries on its own.
    LayerFailed(String),
}

/// The progress of an image's parts.
#[derive(Debug, Default)]
pub(crate) struct PullProgress {
    parts: HashMap<String, Part>,
    digest: Option<String>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Part {
    status: String,
    /// The counter of the status: bytes, or seconds.
    at: u64,
    /// Bytes received, and bytes in total.
    bytes: (u64, u64),
}

impl Part {
    /// Whether the engine works on it. (A layer beyond `max-concurrent-downloads`, counted over all
    /// pulls of the engine, is `Waiting`.)
    fn is_busy(&self) -> bool {
        ["Pulling fs layer", "Downloading", "Verifying Checksum", "Extracting", "Retrying"]
            .iter()
            .any(|busy| self.status.starts_with(busy))
    }
}

impl PullProgress {
    pub(crate) fn apply(&mut self, info: &CreateImageInfo) -> Update {
        let status = info.status.as_deref().unwrap_or_default();
        if let Some(digest) = status.strip_prefix("Digest: ") {
            self.digest = Some(digest.trim().to_owned());
        }
        let Some(id) = &info.id else { return Update::Progress };
        let positive = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let counted = info.progress_detail.as_ref();
        let at = counted.map_or(0, |counted| positive(counted.current));
        let part = self.parts.entry(id.clone()).or_default();
        let moved = (part.status.as_str(), part.at) != (status, at);
        let was_failed = part.status.starts_with("Retrying");
        // Extraction does not count: its bytes were counted when they were downloaded.
        match status {
            "Downloading" => {
                part.bytes = (at, counted.map_or(0, |counted| positive(counted.total)))
            }
            "Download complete" => part.bytes.0 = part.bytes.1,
            _ => {}
        }
        (part.status, part.at) = (status.to_owned(), at);
        if status.starts_with("Retrying") && !was_failed {
            return Update::LayerFailed(format!(
                "the download of layer {id} failed; the engine reports: {status}"
            ));
        }
        if moved { Update::Progress } else { Update::Unchanged }
    }

    /// Whether the pull waits for the engine's other pulls, and not for the registry.
    pub(crate) fn is_queued(&self) -> bool {
        self.parts.values().any(|part| part.status == "Waiting")
            && !self.parts.values().any(Part::is_busy)
    }

    /// Bytes received, and bytes in total, once known.
    pub(crate) fn sum(&self) -> (u64, Option<u64>) {
        let total = self.parts.values().map(|part| part.bytes.1).sum();
        (self.parts.values().map(|part| part.bytes.0).sum(), (total > 0).then_some(total))
    }

    /// The digest that the engine named, if it did.
    pub(crate) fn into_digest(self) -> Option<String> {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> CreateImageInfo {
        serde_json::from_str(text).unwrap()
    }

    fn at(id: &str, status: &str, current: u32) -> CreateImageInfo {
        message(&format!(
            r#"{{"id":"{id}","status":"{status}","progressDetail":{{"current":{current},"total":10}}}}"#
        ))
    }

    #[test]
    fn bytes_are_summed_over_layers_and_count_downloads_only() {
        let mut progress = PullProgress::default();
        assert_eq!(progress.apply(&at("a", "Downloading", 3)), Update::Progress);
        assert_eq!(progress.apply(&at("b", "Downloading", 9)), Update::Progress);
        assert_eq!(
            progress.apply(&message(r#"{"id":"b","status":"Download complete"}"#)),
            Update::Progress
        );
        assert_eq!(progress.apply(&at("b", "Extracting", 1)), Update::Progress);
        assert_eq!(
            progress.apply(&message(r#"{"status":"Pulling from a","id":"1"}"#)),
            Update::Progress
        );
        assert_eq!(progress.sum(), (13, Some(20)));
        assert_eq!(progress.apply(&message(r#"{"status":"Digest: sha256:00"}"#)), Update::Progress);
        assert_eq!(progress.into_digest().as_deref(), Some("sha256:00"));
    }

    #[test]
    fn what_an_engine_repeats_is_no_progress() {
        let mut progress = PullProgress::default();
        assert_eq!(progress.apply(&at("a", "Downloading", 3)), Update::Progress);
        assert_eq!(progress.apply(&at("a", "Downloading", 3)), Update::Unchanged);
        assert_eq!(progress.apply(&at("a", "Downloading", 4)), Update::Progress);
        assert_eq!(progress.apply(&at("a", "Extracting", 4)), Update::Progress);
    }

    #[test]
    fn a_layer_that_the_engine_asks_for_again_is_one_failure_however_long_it_counts_down() {
        let mut progress = PullProgress::default();
        progress.apply(&at("a", "Downloading", 3));
        let first = progress.apply(&at("a", "Retrying in 2 seconds", 0));
        assert!(
            matches!(&first, Update::LayerFailed(words) if words.contains("Retrying in 2 seconds"))
        );
        assert_eq!(progress.apply(&at("a", "Retrying in 1 second", 0)), Update::Progress);
        progress.apply(&at("a", "Downloading", 1));
        assert!(matches!(
            progress.apply(&at("a", "Retrying in 10 seconds", 0)),
            Update::LayerFailed(_)
        ));
    }

    #[test]
    fn a_pull_is_queued_while_the_engine_is_at_none_of_its_layers() {
        let mut progress = PullProgress::default();
        assert!(!progress.is_queued());
        progress.apply(&at("a", "Already exists", 0));
        progress.apply(&at("b", "Pulling fs layer", 0));
        progress.apply(&at("b", "Waiting", 0));
        assert!(progress.is_queued());
        progress.apply(&at("c", "Pulling fs layer", 0));
        assert!(!progress.is_queued());
        progress.apply(&at("c", "Pull complete", 0));
        assert!(progress.is_queued());
        progress.apply(&at("b", "Downloading", 1));
        assert!(!progress.is_queued());
    }
}

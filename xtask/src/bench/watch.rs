//! Records when the API server first showed a report of the kubelet.

use std::collections::HashMap;
use std::io::BufReader;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use longshore_lab::{Lab, NAMESPACE};
use parking_lot::{Condvar, Mutex};
use serde_json::Value;

/// The Events with which the kubelet reports that it has no image
/// (`pkg/kubelet/events/event.go`). They precede the update of the Pod's status.
const DEFINITE: [&str; 2] = ["Failed", "ErrImageNeverPull"];

type Seen = Arc<(Mutex<HashMap<String, Instant>>, Condvar)>;

/// A kubectl that watches the kubelet's reports about a repository's images.
pub(crate) struct Watch {
    kubectl: Child,
    seen: Seen,
}

impl Watch {
    /// Starts to watch the reports about the images of `repository`.
    pub(crate) fn start(lab: &Lab, repository: &str) -> Result<Self> {
        let mut command = Command::new(lab.bin("kubectl"));
        command
            .args(["get", "events", "--watch", "--output=json", "--namespace", NAMESPACE])
            .env("KUBECONFIG", lab.kubeconfig())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut kubectl = command.spawn().context("failed to start kubectl")?;
        let output = kubectl.stdout.take().context("kubectl has no output")?;
        let seen = Seen::default();
        let (notes, repository) = (Arc::clone(&seen), repository.to_owned());
        std::thread::spawn(move || {
            let events = serde_json::Deserializer::from_reader(BufReader::new(output));
            for event in events.into_iter::<Value>().map_while(Result::ok) {
                note(&notes, failed_tag(&event, &repository), Instant::now());
            }
        });
        Ok(Self { kubectl, seen })
    }

    /// Returns when the image with `tag` was first reported missing.
    pub(crate) fn definite(&self, tag: &str, within: Duration) -> Result<Instant> {
        let (seen, news) = &*self.seen;
        let mut seen = seen.lock();
        news.wait_while_for(&mut seen, |seen| !seen.contains_key(tag), within);
        seen.get(tag).copied().context("kubectl saw no failed pull")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

fn note(seen: &Seen, tag: Option<String>, now: Instant) {
    if let Some(tag) = tag {
        let (seen, news) = &**seen;
        seen.lock().entry(tag).or_insert(now);
        news.notify_all();
    }
}

/// Returns the tag of the image of `repository` that `event` reports missing.
fn failed_tag(event: &Value, repository: &str) -> Option<String> {
    DEFINITE.contains(&event["reason"].as_str()?).then_some(())?;
    let (_, after) = event["message"].as_str()?.split_once(repository)?;
    let tag = after.strip_prefix(':')?;
    tag.split('"').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_missing_image_of_the_repository_counts_and_only_the_first_time() {
        let event = |reason: &str, message: &str| json!({"reason": reason, "message": message});
        let failed = event("Failed", r#"Failed to pull image "r/a:7": rpc error: … "r/a:7": …"#);
        assert_eq!(failed_tag(&failed, "r/a").as_deref(), Some("7"));
        assert_eq!(failed_tag(&failed, "r/b"), None);
        let never = r#"Container image "r/a:8" is not present with pull policy of Never"#;
        assert_eq!(failed_tag(&event("ErrImageNeverPull", never), "r/a").as_deref(), Some("8"));
        assert_eq!(failed_tag(&event("Pulling", r#"Pulling image "r/a:7""#), "r/a"), None);
        assert_eq!(failed_tag(&json!({}), "r/a"), None);
        let seen = Seen::default();
        let begun = Instant::now();
        note(&seen, Some("7".into()), begun);
        note(&seen, Some("7".into()), begun + Duration::from_secs(9));
        assert_eq!(seen.0.lock()["7"], begun);
    }
}

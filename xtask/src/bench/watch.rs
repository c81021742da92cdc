//! When the API server first showed what the kubelet reports.

use std::collections::HashMap;
use std::io::BufReader;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::lab::Lab;
use crate::lab::layout::NAMESPACE;

/// The label that tells the rounds of one bench apart.
pub(crate) const ROUND: &str = "bench-round";

/// What the kubelet reports once it has given an image up, or may (`pkg/kubelet/images/types.go`).
const DEFINITE: [&str; 3] = ["ErrImagePull", "ErrImageNeverPull", "InvalidImageName"];

type Seen = Arc<(Mutex<HashMap<String, Instant>>, Condvar)>;

/// kubectl, watching the Pods of a bench.
pub(crate) struct Watch {
    kubectl: Child,
    seen: Seen,
}

impl Watch {
    /// Watches Pods whose label `bench` is `bench`.
    pub(crate) fn start(lab: &Lab, bench: &str) -> Result<Self> {
        let mut command = Command::new(lab.bin("kubectl"));
        command
            .args(["get", "pods", "--watch", "--output=json", "--namespace", NAMESPACE])
            .arg(format!("--selector=bench={bench}"))
            .env("KUBECONFIG", lab.kubeconfig())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut kubectl = command.spawn().context("failed to start kubectl")?;
        let output = kubectl.stdout.take().context("kubectl has no output")?;
        let seen = Seen::default();
        let notes = Arc::clone(&seen);
        std::thread::spawn(move || {
            let pods = serde_json::Deserializer::from_reader(BufReader::new(output));
            for pod in pods.into_iter::<Value>().map_while(Result::ok) {
                note(&notes, &pod, Instant::now());
            }
        });
        Ok(Self { kubectl, seen })
    }

    /// When the Pod of `round` was first seen to have no image.
    pub(crate) fn definite(&self, round: &str, within: Duration) -> Result<Instant> {
        let (seen, news) = &*self.seen;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, _) = news
            .wait_timeout_while(seen, within, |seen| !seen.contains_key(round))
            .unwrap_or_else(PoisonError::into_inner);
        seen.get(round).copied().context("kubectl saw no failed pull")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

fn note(seen: &Seen, pod: &Value, now: Instant) {
    if let Some(round) = failed_round(pod) {
        let (seen, news) = &**seen;
        seen.lock().unwrap_or_else(PoisonError::into_inner).entry(round).or_insert(now);
        news.notify_all();
    }
}

/// The round of a Pod that has no image.
fn failed_round(pod: &Value) -> Option<String> {
    let reason = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
    DEFINITE.contains(&reason.as_str()?).then_some(())?;
    pod["metadata"]["labels"][ROUND].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_pod_without_an_image_counts_and_only_the_first_time() {
        let pod = |reason: &str| {
            json!({
                "metadata": {"labels": {(ROUND): "7"}},
                "status": {"containerStatuses": [{"state": {"waiting": {"reason": reason}}}]},
            })
        };
        assert_eq!(failed_round(&pod("ContainerCreating")), None);
        assert_eq!(failed_round(&pod("ErrImagePull")).as_deref(), Some("7"));
        assert_eq!(failed_round(&json!({"metadata": {}, "status": {}})), None);
        let seen = Seen::default();
        let begun = Instant::now();
        note(&seen, &pod("ErrImageNeverPull"), begun);
        note(&seen, &pod("ErrImagePull"), begun + Duration::from_secs(9));
        assert_eq!(seen.0.lock().unwrap()["7"], begun);
    }
}

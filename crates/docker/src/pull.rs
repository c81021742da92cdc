//! Pulls: one at a time for each image, however many jobs wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::errors::Error as Cause;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt;
use longshore_core::{Event, EventSink, HumanDuration, ImageRef};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::client::Engine;
use crate::fault::Fault;
use crate::image_fault::PullFault;

/// The pulls under way in this process.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    under_way: Mutex<HashMap<String, Weak<Pull>>>,
}

/// One pull. It ends when nobody waits for it any more: the engine gives up a pull whose client
/// has gone.
#[derive(Debug)]
struct Pull {
    state: watch::Receiver<State>,
    task: AbortHandle,
}

impl Drop for Pull {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How far a pull is.
#[derive(Clone, Debug, Default)]
struct State {
    current: u64,
    total: Option<u64>,
    /// The digest that the engine named, if it did.
    result: Option<Result<Option<String>, PullFault>>,
}

impl Pulls {
    /// Pulls `image`, or waits for a pull of it that is under way, and gives the digest that the
    /// registry named. Dropping this stops waiting.
    ///
    /// Registry credentials are not configurable yet; when they are, they belong to the key.
    pub(crate) async fn pull(
        &self,
        engine: &Engine,
        image: &ImageRef,
        credentials: Option<DockerCredentials>,
        events: &EventSink,
    ) -> Result<Option<String>, PullFault> {
        let docker = engine.docker().await.map_err(PullFault::new)?.clone();
        let pull = self.join(docker, image, credentials, engine.config().pull_stall_timeout);
        let mut state = pull.state.clone();
        loop {
            let seen = state.borrow_and_update().clone();
            if let Some(result) = seen.result {
                return result;
            }
            events.emit(Event::Pulling { current: seen.current, total: seen.total });
            if state.changed().await.is_err() {
                return Err(PullFault::unreachable("the pull was broken off"));
            }
        }
    }

    fn join(
        &self,
        docker: Docker,
        image: &ImageRef,
        credentials: Option<DockerCredentials>,
        stall: HumanDuration,
    ) -> Arc<Pull> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|_, pull| pull.strong_count() > 0);
        let key = image.canonical();
        let unfinished = |pull: &Arc<Pull>| pull.state.borrow().result.is_none();
        if let Some(pull) = under_way.get(&key).and_then(Weak::upgrade).filter(unfinished) {
            return pull;
        }
        let (sender, state) = watch::channel(State::default());
        let task = tokio::spawn(run(docker, image.clone(), credentials, stall, sender));
        let pull = Arc::new(Pull { state, task: task.abort_handle() });
        under_way.insert(key, Arc::downgrade(&pull));
        pull
    }
}

/// Pulls, and tells how far it is.
async fn run(
    docker: Docker,
    image: ImageRef,
    credentials: Option<DockerCredentials>,
    stall: HumanDuration,
    state: watch::Sender<State>,
) {
    // A name without a tag would pull all of the repository's tags.
    let tag = image.digest().or(image.tag()).unwrap_or("latest");
    let options = CreateImageOptionsBuilder::default()
        .from_image(&format!("{}/{}", image.registry(), image.repository()))
        .tag(tag)
        .build();
    let mut stream = std::pin::pin!(docker.create_image(Some(options), None, credentials));
    let mut layers = Layers::default();
    let result = loop {
        match timeout(stall.get(), stream.next()).await {
            Err(_) => {
                break Err(PullFault::unreachable(format!(
                    "the pull made no progress for {stall}"
                )));
            }
            Ok(None) => break Ok(layers.digest.take()),
            Ok(Some(Err(cause))) => break Err(fault(cause)),
            Ok(Some(Ok(info))) => {
                if layers.take(&info) {
                    let (current, total) = layers.sum();
                    state.send_modify(|state| (state.current, state.total) = (current, total));
                }
            }
        }
    };
    state.send_modify(|state| state.result = Some(result));
}

fn fault(cause: Cause) -> PullFault {
    match cause {
        // The stream begins with 200 before the engine knows whether it will succeed.
        Cause::DockerStreamError { error } => PullFault::said(None, &error),
        Cause::DockerResponseServerError { status_code, message } => {
            PullFault::new(Fault::Answered { status: status_code, message })
        }
        cause => PullFault::unreachable(cause.to_string()),
    }
}

/// What a pull's messages tell of its layers.
#[derive(Debug, Default)]
struct Layers {
    bytes: HashMap<String, (u64, u64)>,
    digest: Option<String>,
}

impl Layers {
    /// Reads one message; tells whether it changed the sums.
    fn take(&mut self, info: &CreateImageInfo) -> bool {
        let status = info.status.as_deref().unwrap_or_default();
        if let Some(digest) = status.strip_prefix("Digest: ") {
            self.digest = Some(digest.trim().to_owned());
        }
        // What is unpacked was counted when it was downloaded.
        if status != "Downloading" {
            return false;
        }
        let (Some(id), Some(progress)) = (&info.id, &info.progress_detail) else { return false };
        let positive = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        let here = (positive(progress.current), positive(progress.total));
        self.bytes.insert(id.clone(), here) != Some(here)
    }

    fn sum(&self) -> (u64, Option<u64>) {
        let total = self.bytes.values().map(|(_, total)| *total).sum();
        (self.bytes.values().map(|(current, _)| *current).sum(), (total > 0).then_some(total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> CreateImageInfo {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn progress_is_summed_over_layers_and_counts_downloads_only() {
        let mut layers = Layers::default();
        let progress = |id, status, current| {
            message(&format!(
                r#"{{"id":"{id}","status":"{status}","progressDetail":{{"current":{current},"total":10}}}}"#
            ))
        };
        assert!(layers.take(&progress("a", "Downloading", 3)));
        assert!(layers.take(&progress("b", "Downloading", 10)));
        assert!(!layers.take(&progress("b", "Extracting", 1)));
        assert!(!layers.take(&message(r#"{"status":"Pulling from a","id":"1"}"#)));
        assert_eq!(layers.sum(), (13, Some(20)));
        assert!(!layers.take(&message(r#"{"status":"Digest: sha256:00"}"#)));
        assert_eq!(layers.digest.as_deref(), Some("sha256:00"));
    }
}

//! Pulls: one at a time for each image and login, shared by all jobs that wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;
use longshore_core::{Backoff, Event, ImageRef, LaunchContext, RegistryAuth};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::Engine;
use crate::credentials;
use crate::image_fault::PullFault;
use crate::pull_progress::{PullProgress, Update};

/// The first pause before a retry after a registry gave no answer; each further pause is twice as
/// long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The pulls under way in this process.
#[derive(Debug, Default)]
pub(crate) struct Pulls(Mutex<PullTable>);

#[derive(Debug, Default)]
struct PullTable {
    running: HashMap<Key, Weak<SharedPull>>,
    /// How many have succeeded.
    succeeded: u64,
}

/// The image of a pull and its login: a launch never shares a pull that uses another login.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    image: String,
    auth: Option<RegistryAuth>,
}

/// One pull for all launches that wait for it; it retries until it has an answer. It ends when no
/// launch waits any more: the engine abandons a pull whose client has disconnected.
#[derive(Debug)]
struct SharedPull {
    state: watch::Receiver<State>,
    /// Ends a pause.
    wake: Arc<Notify>,
    task: AbortHandle,
}

impl Drop for SharedPull {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The progress of a shared pull.
#[derive(Clone, Debug, Default)]
struct State {
    current: u64,
    total: Option<u64>,
    /// How often the engine tried to pull.
    tries: u32,
    /// How often the registry gave no answer: failed tries, and failed layers within a try.
    failures: u32,
    /// The last such failure.
    last: Option<PullFault>,
    /// Whether it waits for its next try.
    paused: bool,
    /// The digest that the engine named, if it did, or a definite failure.
    result: Option<Result<Option<String>, PullFault>>,
}

/// What a pull needs.
#[derive(Clone, Debug)]
pub(crate) struct PullRequest<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) image: &'a ImageRef,
    pub(crate) auth: Option<&'a RegistryAuth>,
}

/// The result of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pulled {
    /// It succeeded, with the digest that the registry named, if the engine reported it.
    Done(Option<String>),
    /// It did not begin: another pull has ended since the caller looked for the image, so the image
    /// may exist now.
    LookAgain,
}

impl Pulls {
    /// How many pulls have succeeded.
    pub(crate) fn succeeded(&self) -> u64 {
        self.table().succeeded
    }

    /// Pulls an image, or waits for a pull of it that is under way. If the context allows retries,
    /// a pull without an answer is retried for the context's `pull_timeout`. Dropping this
    /// future stops waiting.
    ///
    /// `since` is the value of [`succeeded`](Self::succeeded) before the caller looked for the
    /// image, or `None` to pull in any case.
    pub(crate) async fn pull(
        self: &Arc<Self>,
        request: &PullRequest<'_>,
        context: &LaunchContext,
        since: Option<u64>,
    ) -> Result<Pulled, PullFault> {
        let auth_header =
            request.auth.map(|auth| credentials::header(auth, request.image)).transpose();
        let Some((shared, failures)) =
            self.join(request, auth_header.map_err(PullFault::from)?, since)
        else {
            return Ok(Pulled::LookAgain);
        };
        let until = Instant::now()
            .checked_add(context.pull_timeout)
            .map_or(context.deadline, |until| until.min(context.deadline));
        match timeout_at(until, shared.result(context, failures)).await {
            Ok(result) => result.map(Pulled::Done),
            Err(_) => Err(shared.out_of_time()),
        }
    }

    /// The shared pull, and how many failures it had when this launch joined.
    fn join(
        self: &Arc<Self>,
        request: &PullRequest<'_>,
        auth_header: Option<String>,
        since: Option<u64>,
    ) -> Option<(Arc<SharedPull>, u32)> {
        let key = Key { image: reference(request.image), auth: request.auth.cloned() };
        let mut table = self.table();
        table.running.retain(|_, shared| shared.strong_count() > 0);
        let unfinished = |shared: &Arc<SharedPull>| shared.state.borrow().result.is_none();
        if let Some(shared) = table.running.get(&key).and_then(Weak::upgrade).filter(unfinished) {
            let failures = shared.state.borrow().failures;
            return Some((shared, failures));
        }
        if since.is_some_and(|since| since != table.succeeded) {
            return None;
        }
        let (sender, state) = watch::channel(State::default());
        let wake = Arc::new(Notify::new());
        let puller = PullTask {
            pulls: Arc::downgrade(self),
            engine: Arc::clone(request.engine),
            image: request.image.clone(),
            auth_header,
            state: sender,
            wake: Arc::clone(&wake),
        };
        let task = tokio::spawn(puller.run()).abort_handle();
        let shared = Arc::new(SharedPull { state, wake, task });
        table.running.insert(key, Arc::downgrade(&shared));
        Some((shared, 0))
    }

    fn table(&self) -> MutexGuard<'_, PullTable> {
        self.0.lock()
    }
}

impl SharedPull {
    /// The result for a launch that joined after `failures_reported` failures.
    async fn result(
        &self,
        context: &LaunchContext,
        mut failures_reported: u32,
    ) -> Result<Option<String>, PullFault> {
        let mut state = self.state.clone();
        if !context.retry_pull && state.borrow().paused {
            self.wake.notify_one();
        }
        loop {
            let known = state.borrow_and_update().clone();
            if let Some(result) = known.result {
                return result.map_err(|fault| fault.after(known.tries));
            }
            match known.last.filter(|_| known.failures != failures_reported) {
                Some(last) if !context.retry_pull => return Err(last.after(known.tries)),
                Some(last) => context.events.emit(Event::Waiting(last.to_string())),
                None if known.paused => {}
                None => context
                    .events
                    .emit(Event::Pulling { current: known.current, total: known.total }),
            }
            failures_reported = known.failures;
            if state.changed().await.is_err() {
                return Err(PullFault::unreachable("the pull was interrupted"));
            }
        }
    }

    /// The failure of a launch whose deadline has passed.
    fn out_of_time(&self) -> PullFault {
        let known = self.state.borrow().clone();
        let fault = match (known.last, known.current) {
            (Some(last), _) => last,
            (None, 0) => PullFault::unreachable("the registry gave no answer"),
            (None, current) => PullFault::unreachable(match known.total {
                Some(total) => {
                    format!("the pull did not finish in time: {current} of {total} bytes received")
                }
                None => format!("the pull did not finish in time: {current} bytes received"),
            }),
        };
        fault.after(known.tries)
    }
}

/// The state of the task of a shared pull.
struct PullTask {
    pulls: Weak<Pulls>,
    engine: Arc<Engine>,
    image: ImageRef,
    /// The value of `X-Registry-Auth`.
    auth_header: Option<String>,
    state: watch::Sender<State>,
    wake: Arc<Notify>,
}

impl PullTask {
    /// Pulls until there is an answer, and publishes its progress.
    async fn run(self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let result = loop {
            self.state.send_modify(|state| state.tries += 1);
            match self.try_once().await {
                Err(fault) if fault.is_transient() => self.failed(fault, true),
                result => break result,
            }
            tokio::select! {
                () = sleep(backoff.next_pause()) => {}
                () = self.wake.notified() => {}
            }
            self.state.send_modify(|state| state.paused = false);
        };
        if let (Ok(_), Some(pulls)) = (&result, self.pulls.upgrade()) {
            pulls.table().succeeded += 1;
        }
        self.state.send_modify(|state| state.result = Some(result));
    }

    fn failed(&self, fault: PullFault, paused: bool) {
        self.state.send_modify(|state| {
            state.failures += 1;
            state.last = Some(fault);
            state.paused = paused;
        });
    }

    /// Asks the engine to pull once.
    async fn try_once(&self) -> Result<Option<String>, PullFault> {
        // A name without a tag would pull all of the repository's tags.
        let tag = self.image.digest().or(self.image.tag()).unwrap_or("latest");
        let name = format!("{}/{}", self.image.registry(), self.image.repository());
        let mut messages =
            std::pin::pin!(self.engine.pull(&name, tag, self.auth_header.as_deref()));
        let stall = self.engine.config().pull_stall_timeout;
        let mut moved = Instant::now();
        let mut progress = PullProgress::default();
        loop {
            let Ok(message) = timeout_at(moved + stall.get(), messages.next()).await else {
                return Err(PullFault::unreachable(format!(
                    "the pull made no progress for {stall}"
                )));
            };
            let Some(message) = message else { return Ok(progress.into_digest()) };
            let message = message.map_err(PullFault::new)?;
            // The messages begin with status 200 before the engine knows whether the pull succeeds.
            if let Some(said) = message.error_detail.as_ref().and_then(|it| it.message.as_deref()) {
                return Err(PullFault::said(None, said));
            }
            match progress.apply(&message) {
                Update::Unchanged if !progress.is_queued() => continue,
                Update::LayerFailed(message) => self.failed(PullFault::unreachable(message), false),
                Update::Unchanged | Update::Progress => {}
            }
            moved = Instant::now();
            let (current, total) = progress.sum();
            self.state.send_if_modified(|state| {
                let before = (state.current, state.total);
                (state.current, state.total) = (current, total);
                before != (current, total)
            });
        }
    }
}

/// The reference of `image` on the engine: with a digest, the tag is ignored.
pub(crate) fn reference(image: &ImageRef) -> String {
    match image.digest() {
        Some(digest) => format!("{}/{}@{digest}", image.registry(), image.repository()),
        None => image.canonical(),
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::{RequestCounter, Secret};

    use super::*;
    use crate::DockerConfig;

    fn nowhere() -> Arc<Engine> {
        let host = Some("unix:///nowhere/docker.sock".to_owned());
        let requests = RequestCounter::new(&"docker".parse().unwrap());
        Arc::new(Engine::new(DockerConfig { host, ..DockerConfig::default() }, requests))
    }

    // The test awaits nothing, so no pull ends.
    #[tokio::test]
    async fn a_pull_is_shared_by_those_who_want_the_same_image_with_the_same_login() {
        let (pulls, engine) = (Arc::new(Pulls::default()), nowhere());
        let auth = |password: &str| RegistryAuth::password("r", "me", Secret::new(password));
        let join = |image: &str, auth: Option<&RegistryAuth>| {
            let image = image.parse().unwrap();
            let request = PullRequest { engine: &engine, image: &image, auth };
            pulls.join(&request, None, None).unwrap().0
        };
        let (mine, yours) = (auth("mine"), auth("yours"));
        let first = [
            join("r:1/x", None),
            join("r:1/x", Some(&mine)),
            join("r:1/x", Some(&yours)),
            join("r:1/x:2", None),
            join("x", None),
        ];
        let again = [
            join("r:1/x:latest", None),
            join("r:1/x", Some(&auth("mine"))),
            join("r:1/x", Some(&auth("yours"))),
            join("r:1/x:2", None),
            join("docker.io/library/x", None),
        ];
        for (i, shared) in first.iter().enumerate() {
            for (j, other) in again.iter().enumerate() {
                assert_eq!(Arc::ptr_eq(shared, other), i == j, "{i} {j}");
            }
        }
    }

    #[tokio::test]
    async fn one_who_looked_before_a_pull_ended_looks_again_before_pulling() {
        let (pulls, engine) = (Arc::new(Pulls::default()), nowhere());
        let image = "x".parse().unwrap();
        let request = PullRequest { engine: &engine, image: &image, auth: None };
        let before = pulls.succeeded();
        pulls.table().succeeded += 1;
        assert!(pulls.join(&request, None, Some(before)).is_none());
        assert!(pulls.join(&request, None, Some(before + 1)).is_some());
        assert!(pulls.join(&request, None, None).is_some(), "Always");
    }

    #[test]
    fn an_image_is_known_by_its_digest_or_its_full_name_and_tag() {
        let digest = format!("sha256:{}", "0f".repeat(32));
        for (image, expected) in [
            ("x".to_owned(), "docker.io/library/x:latest".to_owned()),
            ("docker.io/library/x".to_owned(), "docker.io/library/x:latest".to_owned()),
            ("localhost:5000/a:1".to_owned(), "localhost:5000/a:1".to_owned()),
            (format!("a/b@{digest}"), format!("docker.io/a/b@{digest}")),
            (format!("a/b:1@{digest}"), format!("docker.io/a/b@{digest}")),
        ] {
            assert_eq!(reference(&image.parse().unwrap()), expected);
        }
    }

    #[test]
    fn a_pause_is_jittered_between_half_and_all_of_it() {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let first = backoff.next_pause();
        assert!(first >= FIRST_PAUSE / 2 && first <= FIRST_PAUSE, "{first:?}");
        for pause in (0..100).map(|_| backoff.next_pause()).skip(10) {
            assert!(pause >= LONGEST_PAUSE / 2 && pause <= LONGEST_PAUSE, "{pause:?}");
        }
    }
}

//! From a handle to the attempt's location on the engine that the handle names.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_core::{Backoff, Handle, Result};
use tokio::time::sleep;

use crate::backend::Backend;
use crate::location::Location;

/// The first and the longest pause between two looks for the engine of an attempt.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

impl Backend {
    /// Reads `handle`.
    ///
    /// # Errors
    /// `Unavailable` if the attempt is on another engine, whose answers would prove nothing.
    pub(crate) async fn locate(&self, handle: &Handle) -> Result<Location> {
        let location = Location::read(handle)?;
        self.engine.ensure_connected_at(location.target.as_ref()).await?;
        Ok(location)
    }
}

/// The stream `open` of an attempt, once its engine is the one that this runner is connected to. Until
/// then, an error before each pause.
pub(crate) fn once_there<T: Send + 'static>(
    backend: &Arc<Backend>,
    location: Location,
    open: impl FnOnce(Arc<Backend>, Location) -> BoxStream<'static, Result<T>> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    let backend = Arc::clone(backend);
    async_stream::stream! {
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        while let Err(error) = backend.engine.ensure_connected_at(location.target.as_ref()).await {
            yield Err(error);
            sleep(backoff.next_pause()).await;
        }
        let mut items = open(backend, location);
        while let Some(item) = items.next().await {
            yield item;
        }
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use longshore_conformance::endless::{Answer, EndlessServer};
    use longshore_core::{
        Attempt, ErrorKind, Event, InstallationId, JobId, JobSpec, LaunchContext, LaunchError,
        Runner, RunnerName,
    };
    use tokio::time::Instant;

    use super::*;
    use crate::{DockerConfig, DockerRunner};

    /// Another engine than the one of a job: it has no container at all.
    #[tokio::test(start_paused = true)]
    async fn the_404_of_another_engine_was_the_end_of_a_job() {
        let asked = Arc::new(Mutex::new(0));
        let count = Arc::clone(&asked);
        let server = EndlessServer::start(move |_| {
            *count.lock().unwrap() += 1;
            let head = "HTTP/1.1 404 Not Found\r\nApi-Version: 1.41\r\nContent-Length: 0";
            Answer::Whole(format!("{head}\r\n\r\n"))
        });
        let server = server.await.unwrap();
        let runner = |host: &str| {
            let host = Some(format!("tcp://{host}"));
            let config = DockerConfig { host, tls_verify: Some(false), ..DockerConfig::default() };
            DockerRunner::new(RunnerName::docker(), config)
        };
        let (here, there) = (runner("engine.invalid:2375"), runner(server.address()));
        let job = JobSpec::container("localhost:5000/a:1".parse().unwrap());
        let mut attempt = Attempt::new(InstallationId::random(), JobId::random(), 1, job);
        attempt.target = here.target().await;
        let handle = there.handle(&attempt);
        assert_eq!(handle, here.handle(&attempt));
        let settled = there.settle(&handle, Instant::now() + Duration::from_secs(60)).await;
        assert_eq!(settled.unwrap_err().kind(), ErrorKind::Unavailable);
        let hints: Vec<_> = there.events(&handle).take(3).collect().await;
        assert!(hints.iter().all(Result::is_err), "{hints:?}");
        let launched = there.launch(&attempt, &LaunchContext::new(Instant::now())).await;
        let Err(LaunchError::Refused(error)) = launched else { panic!("{launched:?}") };
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(*asked.lock().unwrap(), 0, "requests");
        // A handle from before there were targets.
        attempt.target = None;
        let old = there.handle(&attempt);
        there.reach(&old).await.unwrap();
        let ended = there
            .events(&old)
            .any(|event| std::future::ready(matches!(event, Ok(Event::Ended(_)))));
        let _ = tokio::time::timeout(Duration::from_secs(1), ended).await;
        assert_ne!(*asked.lock().unwrap(), 0, "requests");
    }
}

//! What the engine remembers of a container that is gone.

use std::collections::HashMap;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::client::Engine;

/// Whether the container `id`, created at `created` and just removed, provably never started: the
/// engine tells of its end, and of no start before that.
///
/// The engine keeps its latest 256 events and tells them again
/// (<https://docs.docker.com/reference/cli/docker/system/events/>); the end has just come, so it is
/// among them. An engine that does not tell of it proves nothing.
pub(crate) async fn never_started(engine: &Engine, id: &str, created: Option<Timestamp>) -> bool {
    let since = created.map_or(0, Timestamp::as_second).to_string();
    let one = |value: &str| vec![value.to_owned()];
    let filters =
        HashMap::from([("type".to_owned(), one("container")), ("container".to_owned(), one(id))]);
    let options = EventsOptionsBuilder::default().since(&since).filters(&filters).build();
    let Ok(docker) = engine.docker().await else { return false };
    let told = ended_unstarted(docker.events(Some(options)));
    timeout(engine.config().request_timeout.get(), told).await.unwrap_or(false)
}

async fn ended_unstarted<E>(events: impl Stream<Item = Result<EventMessage, E>>) -> bool {
    let mut events = std::pin::pin!(events);
    while let Some(Ok(event)) = events.next().await {
        match event.action.as_deref() {
            Some("start") => return false,
            Some("destroy") => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn proven(actions: &[&str]) -> bool {
        let event = |action: &&str| {
            Ok::<_, ()>(EventMessage { action: Some((*action).to_owned()), ..Default::default() })
        };
        ended_unstarted(futures::stream::iter(actions.iter().map(event))).await
    }

    #[tokio::test]
    async fn only_an_end_without_a_start_before_it_is_a_proof() {
        assert!(proven(&["create", "destroy"]).await);
        assert!(!proven(&["create", "start", "die", "destroy"]).await);
        assert!(!proven(&["create"]).await, "the engine did not tell of the end");
        assert!(!proven(&[]).await);
    }
}

//! Questions to the engine's memory of past events.

use bollard_stubs::models::EventMessage;
use futures::{Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::client::{Answer, Engine};
use crate::container_event::ContainerEvent;
use crate::location::Location;

/// Whether the container `id`, created at `created` and just removed, provably never started: the
/// engine reports its removal, and no start before that.
///
/// The engine keeps its latest 256 events and repeats them on request
/// (<https://docs.docker.com/reference/cli/docker/system/events/>). The removal has just happened,
/// so it is among them. An engine that does not report the removal proves nothing.
pub(crate) async fn never_started(engine: &Engine, id: &str, created: Option<Timestamp>) -> bool {
    let since = created.map_or(0, Timestamp::as_second).to_string();
    let past = async {
        let filters = [("type", "container"), ("container", id)];
        match engine.events(&filters, &[("since", &since)]).await {
            Ok(events) => ended_unstarted(events).await,
            Err(_) => false,
        }
    };
    timeout(engine.config().request_timeout.get(), past).await.unwrap_or(false)
}

/// Whether the engine remembers the start of a container with the attempt's name and labels. That it
/// remembers none proves nothing: it forgets.
pub(crate) async fn has_started(engine: &Engine, location: &Location) -> Answer<bool> {
    let until = until_now(engine).await?;
    let labels = location.labels();
    let labels = labels.iter().map(|label| ("label", label.as_str()));
    let filters: Vec<_> =
        [("type", "container"), ("event", "start")].into_iter().chain(labels).collect();
    let starts = remembered(engine, &filters, &until).await?;
    Ok(starts.into_iter().filter_map(ContainerEvent::read).any(|event| event.named))
}

/// The most events that an engine remembers; it keeps 256.
const MOST_EVENTS: usize = 1024;

/// The events of the container `id` that the engine remembers. They may be all, some or none.
pub(crate) async fn past_events(engine: &Engine, id: &str) -> Answer<Vec<ContainerEvent>> {
    Ok(query(engine, id).await?.into_iter().filter_map(ContainerEvent::read).collect())
}

/// Whether the engine remembers that the container `id` had the name `name` and lost it.
pub(crate) async fn was_renamed(engine: &Engine, id: &str, name: &str) -> Answer<bool> {
    let from_name = |event: EventMessage| {
        let old = event.actor?.attributes?.remove("oldName")?;
        (event.action? == "rename" && old.trim_start_matches('/') == name).then_some(())
    };
    Ok(query(engine, id).await?.into_iter().find_map(from_name).is_some())
}

async fn query(engine: &Engine, id: &str) -> Answer<Vec<EventMessage>> {
    let until = until_now(engine).await?;
    let filters = [("type", "container"), ("container", id)];
    remembered(engine, &filters, &until).await
}

/// The end of a question about the past. Without one that has passed, the engine would continue with
/// events to come.
async fn until_now(engine: &Engine) -> Answer<String> {
    let now = engine.now().await?;
    Ok(format!("{}.{:09}", now.as_second(), now.subsec_nanosecond()))
}

/// The events that the engine remembers from before `until`.
async fn remembered(
    engine: &Engine,
    filters: &[(&str, &str)],
    until: &str,
) -> Answer<Vec<EventMessage>> {
    let range = [("since", "1"), ("until", until)];
    let past = async {
        let events = engine.events(filters, &range).await?;
        events.take(MOST_EVENTS).try_collect().await
    };
    engine.within(engine.config().request_timeout.get(), past).await
}

/// Whether the engine reports that it sent the container `id` a signal before it had come up, at
/// `came_up`. An engine that was killed, and finds a running container, ends it this way.
pub(crate) async fn signalled_while_coming_up(
    engine: &Engine,
    id: &str,
    came_up: Timestamp,
) -> Answer<bool> {
    let filters = [("type", "container"), ("container", id), ("event", "kill")];
    // The engine remembers nothing from before it went down.
    let until = (came_up.as_second() + 1).to_string();
    let before = |event: EventMessage| {
        event.time_nano.is_some_and(|at| i128::from(at) <= came_up.as_nanosecond())
    };
    Ok(remembered(engine, &filters, &until).await?.into_iter().any(before))
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
        assert!(!proven(&["create"]).await, "the engine did not report the end");
        assert!(!proven(&[]).await);
    }
}

//! The spans and events that a subscriber receives, as `docs/tracing.md` lists them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Once;

use longshore_conformance::simulated::{LaunchStep, Script, SettleStep};
use longshore_core::ErrorKind;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Instrument, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::recovering::{Setup, kill};
use crate::support::*;

const DOCUMENT: &str = include_str!("../../../../docs/tracing.md");

/// The fields of a span or event.
#[derive(Clone, Debug, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// An event with its spans, from the outermost.
#[derive(Clone, Debug)]
struct Seen {
    message: String,
    fields: Fields,
    spans: Vec<(&'static str, Fields)>,
}

thread_local! {
    /// What the test on this thread has seen, once it wants to see something.
    static SEEN: RefCell<Option<Vec<Seen>>> = const { RefCell::new(None) };
}

/// Records for each test what happens on its thread.
///
/// There is one for the whole process: with one subscriber per thread, an event that another test
/// reaches first, without a subscriber, stays disabled.
#[derive(Clone, Copy, Debug)]
struct Recorder;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().replace(fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let wanted = SEEN.with_borrow(Option::is_some);
        if !wanted || !event.metadata().target().starts_with("longshore_dispatch") {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.0.remove("message").unwrap();
        let scope = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let spans = scope.map(|span| {
            (span.name(), span.extensions().get::<Fields>().cloned().unwrap_or_default())
        });
        let event = Seen { message, fields, spans: spans.collect() };
        SEEN.with_borrow_mut(|seen| seen.get_or_insert_default().push(event));
    }
}

/// Makes this test see what happens from now on.
fn begin() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Recorder);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
    SEEN.set(Some(Vec::new()));
}

/// Runs jobs that meet every event, and returns what a subscriber saw.
async fn seen() -> Vec<Seen> {
    begin();
    let lost = LaunchStep::AnswerLost { effect: None, answer: SECOND };
    let first = Script { settles: [SettleStep::Fail].into(), ..launches([lost]) };
    let scene = scene([first, refuses(ErrorKind::Saturated), Script::default()]);
    scene.run(job()).await;
    scene.shut_down().await;
    let setup = Setup::new(launches([LaunchStep::Hang { effect: None }]));
    let owner = setup.dispatcher();
    let id = owner.submit(job()).await.unwrap().id().clone();
    tokio::time::sleep(SECOND).await;
    kill(&owner).await;
    setup.dispatcher().attach(&id).await.unwrap().end().await;
    SEEN.take().unwrap()
}

/// Returns the rows of the table of events: the message, and the fields.
fn documented() -> BTreeMap<&'static str, Vec<&'static str>> {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.filter_map(|row| {
        let mut cells = row.trim_end_matches(" |").split(" | ");
        let message = cells.next()?.trim_end_matches('`');
        let fields = cells.nth(1)?;
        Some((message, fields.split(", ").map(|field| field.trim_matches('`')).collect()))
    });
    rows.collect()
}

#[tokio::test(start_paused = true)]
async fn each_event_of_a_job_is_in_its_spans_and_has_the_documented_fields() {
    let (seen, documented) = (seen().await, documented());
    for event in &seen {
        let fields = documented.get(event.message.as_str());
        let fields = fields.unwrap_or_else(|| panic!("{event:?} is not documented"));
        for name in event.fields.0.keys() {
            assert!(fields.contains(name), "{name} of {event:?} is not documented");
        }
        let (name, job) = &event.spans[0];
        assert_eq!((*name, job.0.len()), ("job", 1), "{event:?}");
        assert!(job.0.contains_key("job"), "{event:?}");
        for value in event.fields.0.values() {
            assert!(!value.contains("Some(") && !value.contains('{'), "{event:?}");
        }
    }
    for message in [
        "probing",
        "launching",
        "settling",
        "trouble",
        "passed over",
        "started",
        "ended",
        "taken up",
    ] {
        assert!(seen.iter().any(|event| event.message == message), "no {message}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_an_attempt_is_in_the_span_of_the_attempt() {
    let seen = seen().await;
    for message in ["launching", "settling", "started"] {
        for event in seen.iter().filter(|event| event.message == message) {
            let [_, (name, attempt)] = &event.spans[..] else { panic!("{event:?}") };
            assert_eq!(*name, "attempt");
            for field in ["attempt", "runner"] {
                assert_eq!(attempt.0[field], event.fields.0[field], "{event:?}");
            }
        }
    }
    let ended = seen.iter().find(|event| event.message == "ended").unwrap();
    assert_eq!(ended.fields.0["outcome"], "Exited");
    assert_eq!(ended.fields.0["exit_code"], "0");
    assert_eq!(ended.fields.0["runner"], "third");
    assert_eq!(ended.spans.len(), 2, "{ended:?}");
}

/// The task that runs a job had no parent, so that the events of a job did not show the request that
/// had submitted it.
#[tokio::test(start_paused = true)]
async fn a_job_and_its_attempts_are_in_the_span_of_the_submission() {
    begin();
    let scene = scene([refuses(ErrorKind::Saturated), Script::default()]);
    scene.run(job()).instrument(tracing::info_span!("request", tenant = "a")).await;
    scene.shut_down().await;
    let seen = SEEN.take().unwrap();
    for message in ["passed over", "started", "ended"] {
        let event = seen.iter().find(|event| event.message == message).unwrap();
        let names: Vec<_> = event.spans.iter().map(|(name, _)| *name).collect();
        assert_eq!(names[..2], ["request", "job"], "{event:?}");
        assert_eq!(event.spans[0].1.0["tenant"], "a");
    }
}

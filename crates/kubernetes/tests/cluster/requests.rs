//! The requests that a job costs.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use hyper::{StatusCode, Uri};
use longshore_core::Runner;
use serde_json::json;

use crate::layer::{Fate, Layer, is_watch};
use crate::{Body, Case, Checked, check, end, hello, launch};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![
        ("the_first_job_of_a_process_costs_seven_requests", |c| {
            the_first_job_of_a_process_costs_seven_requests(c).boxed()
        }),
        ("a_server_that_always_sends_initial_events_is_asked_for_lists", |c| {
            a_server_that_always_sends_initial_events_is_asked_for_lists(c).boxed()
        }),
        ("a_job_from_before_the_watches_is_followed_to_its_end", |c| {
            a_job_from_before_the_watches_is_followed_to_its_end(c).boxed()
        }),
    ]
}

type Requests = Arc<Mutex<Vec<Uri>>>;

/// Returns a layer that answers as `rule` says, and the requests that it gets.
async fn counting(
    case: &Case,
    rule: impl Fn(&Uri) -> Fate + Send + Sync + 'static,
) -> Checked<(Layer, Requests)> {
    let requests = Requests::default();
    let seen = requests.clone();
    let layer = Layer::start(case.lab.client.clone(), move |uri| {
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(uri.clone());
        rule(uri)
    })
    .await?;
    Ok((layer, requests))
}

fn has(uri: &Uri, text: &str) -> bool {
    uri.query().unwrap_or_default().contains(text)
}

/// Returns what `requests` ask for, in alphabetical order. Leaves out what only a slow cluster costs:
/// a watch that is renewed after half a minute, and the Events of one object, which are requested if
/// the watch has not reported them for a while.
fn named(requests: &Requests, job: &str) -> Vec<String> {
    let requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
    let renewed = |uri: &&Uri| is_watch(uri) && !has(uri, "sendInitialEvents=false");
    let late = |uri: &&Uri| has(uri, "involvedObject.uid");
    let mut names: Vec<String> = requests
        .iter()
        .filter(|uri| !renewed(uri) && !late(uri))
        .map(|uri| {
            let parts: Vec<&str> = uri.path().rsplit('/').collect();
            match parts.as_slice() {
                ["log", ..] => "log".to_owned(),
                [name, ..] if *name == job => "the Job".to_owned(),
                [kind, ..] if is_watch(uri) => format!("watch {kind}"),
                [kind, ..] => (*kind).to_owned(),
                [] => String::new(),
            }
        })
        .collect();
    names.sort();
    names
}

async fn the_first_job_of_a_process_costs_seven_requests(case: Arc<Case>) -> Checked {
    let (layer, requests) = counting(&case, |_| Fate::Pass).await?;
    let (runner, _file) = layer.runner(&case.lab)?;
    runner.ready().await?;
    let attempt = hello(&case, &runner).await?;
    let seen = named(&requests, &attempt.object_name());
    let expected = [
        "jobs",
        "log",
        "selfsubjectrulesreviews",
        "the Job",
        "the Job",
        "watch events",
        "watch pods",
    ];
    check(seen == expected, || format!("{seen:#?}"))
}

/// The server's feature gate `WatchList` may be off.
async fn a_server_that_always_sends_initial_events_is_asked_for_lists(case: Arc<Case>) -> Checked {
    let (layer, requests) = counting(&case, |uri| {
        if !has(uri, "sendInitialEvents") {
            return Fate::Pass;
        }
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid",
            "code": 422, "message": "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: \
            Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is \
            enabled",
        });
        Fate::Answer(StatusCode::UNPROCESSABLE_ENTITY, status.to_string())
    })
    .await?;
    let (runner, _file) = layer.runner(&case.lab)?;
    let started = launch(&runner, &case.script("exit 0")).await?;
    check(end(&runner, &started.handle).await?.outcome.is_success(), || "it failed".to_owned())?;
    let requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
    let lists = requests.iter().filter(|uri| has(uri, "limit=500")).count();
    check(lists == 1, || format!("{requests:#?}"))
}

/// The watches begin without a list for a launch, and another job needs that list.
async fn a_job_from_before_the_watches_is_followed_to_its_end(case: Arc<Case>) -> Checked {
    let earlier = launch(&case.lab.runner(), &case.script("sleep 4; exit 0")).await?;
    let (layer, requests) = counting(&case, |_| Fate::Pass).await?;
    let (runner, _file) = layer.runner(&case.lab)?;
    let listed = || {
        let requests = requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().filter(|uri| has(uri, "limit=500")).count()
    };
    let started = launch(&runner, &case.script("exit 0")).await?;
    check(end(&runner, &started.handle).await?.outcome.is_success(), || "it failed".to_owned())?;
    check(listed() == 0, || "a list for a job that was seen from its creation".to_owned())?;
    let report = end(&runner, &earlier.handle).await?;
    check(report.outcome.is_success(), || format!("{report:?}"))?;
    check(listed() == 2, || format!("{} lists", listed()))
}

//! A gateway in front of the API server that answers in its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use hyper::StatusCode;
use longshore_core::{ErrorKind, Runner, Settled};
use tokio::time::Instant;

use crate::faults::{SEVEN, is};
use crate::layer::{Fate, Layer};
use crate::{Body, Case, Checked, PATIENCE, check, end, launch, launch_within, output};

/// What a gateway says of a server that it does not reach.
const HEARD: [(StatusCode, &str); 5] = [
    (StatusCode::NOT_FOUND, "404 page not found\n"),
    (StatusCode::NOT_FOUND, r#"{"message": "no route matched"}"#),
    (StatusCode::NOT_FOUND, r#"{"code": 404, "message": "cluster not found"}"#),
    (StatusCode::CONFLICT, "<html>409</html>"),
    (StatusCode::BAD_REQUEST, "<html>400</html>"),
];
/// How many requests it answers.
const ANSWERS: usize = 12;

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![
        ("a_gateways_404_is_not_the_end_of_a_job", |c| {
            a_gateways_404_is_not_the_end_of_a_job(c).boxed()
        }),
        ("a_gateways_404_was_taken_for_a_refusal_by_the_cluster", |c| {
            a_gateways_404_was_taken_for_a_refusal_by_the_cluster(c).boxed()
        }),
    ]
}

async fn a_gateways_404_is_not_the_end_of_a_job(case: Arc<Case>) -> Checked {
    let (status, text) = HEARD[0];
    let left = Arc::new(AtomicUsize::new(0));
    let count = left.clone();
    let layer = Layer::start(case.lab.client.clone(), move |_| {
        let less = |left: usize| left.checked_sub(1);
        match count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
            Ok(_) => Fate::Answer(status, text.to_owned()),
            Err(_) => Fate::Pass,
        }
    })
    .await?;
    let (runner, _file) = layer.runner(&case.lab)?;
    let started = launch(&runner, &case.script("echo begun; sleep 2; echo over; exit 7")).await?;
    left.store(ANSWERS, Ordering::SeqCst);
    layer.sever();
    let (report, output) =
        tokio::join!(end(&runner, &started.handle), output(&runner, &started.handle));
    is(&report?, &SEVEN)?;
    check(output? == b"begun\nover\n", || "other output".to_owned())
}

async fn a_gateways_404_was_taken_for_a_refusal_by_the_cluster(case: Arc<Case>) -> Checked {
    for (status, text) in HEARD {
        let layer =
            Layer::start(case.lab.client.clone(), move |_| Fate::Answer(status, text.to_owned()))
                .await?;
        let (runner, _file) = layer.runner(&case.lab)?;
        let attempt = case.script("echo started");
        let answer = launch_within(&runner, &attempt, Duration::from_secs(3)).await;
        let error = answer.err().ok_or("nothing refused it")?;
        let error = error.error();
        check(error.kind() == ErrorKind::Unavailable, || format!("{status} {text}: {error:?}"))?;
        let handle = runner.handle(&attempt);
        let settled = runner.settle(&handle, Instant::now() + Duration::from_secs(2)).await;
        check(settled.is_err(), || format!("{status} {text}: proof of {settled:?}"))?;
        let settled = case.lab.runner().settle(&handle, Instant::now() + PATIENCE).await?;
        check(settled == Settled::NeverStarted, || format!("{settled:?}"))?;
    }
    Ok(())
}

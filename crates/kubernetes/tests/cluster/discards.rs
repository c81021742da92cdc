//! Jobs that were created for a launch that gave up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use hyper::{Method, StatusCode};
use longshore_core::{LaunchContext, Runner};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::layer::{Fate, Layer};
use crate::{Body, Case, Checked, PATIENCE, check, refused};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![("a_cancelled_launch_leaves_no_job_behind_however_late_its_requests_are", |c| {
        a_cancelled_launch_leaves_no_job_behind_however_late_its_requests_are(c).boxed()
    })]
}

/// The launch gave up the deletion after a moment, or took it for done before the Job was created.
async fn a_cancelled_launch_leaves_no_job_behind_however_late_its_requests_are(
    case: Arc<Case>,
) -> Checked {
    for failures in [0, 2] {
        let [asked, go_on, created] = std::array::from_fn(|_| CancellationToken::new());
        let (seen, late) =
            (asked.clone(), Fate::Late { when: go_on.clone(), done: created.clone() });
        let deletions = AtomicUsize::new(0);
        let layer = Layer::start_by_method(case.lab.client.clone(), move |method, uri| {
            if method == Method::POST && uri.path().ends_with("/jobs") {
                seen.cancel();
                return late.clone();
            }
            let is_refused =
                method == Method::DELETE && deletions.fetch_add(1, Ordering::SeqCst) < failures;
            if is_refused {
                return Fate::Answer(StatusCode::SERVICE_UNAVAILABLE, "busy".to_owned());
            }
            Fate::Pass
        })
        .await?;
        let (runner, _file) = layer.runner(&case.lab)?;
        let attempt = case.script("echo started");
        let context = LaunchContext::new(Instant::now() + PATIENCE);
        let cancel = async {
            asked.cancelled().await;
            context.cancel.cancel();
        };
        let (answer, ()) = tokio::join!(runner.launch(&attempt, &context), cancel);
        refused(answer)?;
        go_on.cancel();
        created.cancelled().await;
        let name = attempt.object_name();
        let deadline = Instant::now() + PATIENCE;
        while case.lab.jobs().get_opt(&name).await?.is_some() {
            check(Instant::now() < deadline, || format!("{failures} failures: {name} is left"))?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

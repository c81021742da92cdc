//! Taking back a Pod that is about to start.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use longshore_core::{Attempt, LaunchContext, LaunchError, Runner};
use tokio::time::{Instant, sleep};

use crate::{Body, Case, Checked, PATIENCE, check};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![("what_was_refused_after_a_cancel_at_any_moment_never_ran", |c| {
        what_was_refused_after_a_cancel_at_any_moment_never_ran(c).boxed()
    })]
}

/// Returns an attempt that creates a file in `folder` when it runs.
fn leaving_a_mark(case: &Case, folder: &Path) -> Checked<Attempt> {
    for name in ["input", "output"] {
        std::fs::create_dir_all(folder.join(name))?;
    }
    let mut spec = case.lab.job("echo > /job/output/ran");
    spec.job_directory = Some(folder.to_owned());
    Ok(case.attempt(spec))
}

async fn what_was_refused_after_a_cancel_at_any_moment_never_ran(case: Arc<Case>) -> Checked {
    const LAUNCHES: u64 = 40;
    let (_, root) = case.lab.claim.clone().ok_or("set LONGSHORE_LAB_CLAIM and _VOLUME")?;
    let folder = tempfile::Builder::new().prefix("withdrawal-").tempdir_in(root)?;
    let runner = Arc::new(case.lab.runner());
    let launches = futures::stream::iter(0..LAUNCHES).map(|n| {
        let (case, runner) = (case.clone(), runner.clone());
        let own = folder.path().join(n.to_string());
        async move {
            let attempt = leaving_a_mark(&case, &own)?;
            let context = LaunchContext::new(Instant::now() + PATIENCE);
            let cancel = async {
                // Here, a Pod takes one to two seconds to start.
                sleep(Duration::from_millis(100 + n * 47)).await;
                context.cancel.cancel();
            };
            let (answer, ()) = tokio::join!(runner.launch(&attempt, &context), cancel);
            Checked::Ok((own, matches!(answer, Err(LaunchError::Refused(_)))))
        }
    });
    let answers: Vec<_> = launches.buffer_unordered(5).collect().await;
    // Once the Pods are gone, the kubelet can start nothing more.
    case.clean_up().await?;
    let answers = answers.into_iter().collect::<Checked<Vec<_>>>()?;
    let refused = answers.iter().filter(|(_, refused)| *refused);
    let ran: Vec<_> = refused.clone().filter(|(own, _)| own.join("output/ran").exists()).collect();
    check(ran.is_empty(), || format!("refused, and ran: {ran:?}"))?;
    let refused = refused.count();
    check(refused > 0, || "none was refused".to_owned())
}

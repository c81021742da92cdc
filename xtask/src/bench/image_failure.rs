//! Measures the time from the kubelet's first definite report of a failed pull to the end of the
//! command.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::context::{Bench, LIMIT};
use super::sample::Sample;
use super::watch::Watch;

/// A way in which an image is unavailable: the pull policy, and the reason in the outcome.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    pub policy: &'static str,
    pub reason: &'static str,
}

pub(crate) const NOT_FOUND: Failure = Failure { policy: "IfNotPresent", reason: "NotFound" };
pub(crate) const NOT_PRESENT: Failure = Failure { policy: "Never", reason: "NotPresent" };

/// The period in which a kubelet lists the containers of its runtime. It ends a Pod only after it
/// has listed them (`pkg/kubelet/kubelet.go`, `genericPlegRelistPeriod`).
const RELIST: Duration = Duration::from_secs(1);

/// Measures how long each of several commands still ran after the report. Their starts are spread
/// evenly over the kubelet's period. If they simply ran one after the other, each would start when
/// the previous one ended, which is the same point of every period.
pub(crate) fn image_failure(bench: &Bench<'_>, failure: Failure) -> Result<Sample> {
    let name = failure.reason.to_lowercase();
    let repository = format!("localhost:5000/bench/{name}-{}", std::process::id());
    let watch = Watch::start(bench.lab, &repository)?;
    let mut took = Vec::new();
    for round in 0..bench.rounds {
        sleep(RELIST * round / bench.rounds);
        let round = round.to_string();
        let mut command = bench.longshore();
        command.args(["--pull-policy", failure.policy]);
        command.args(["--image", &format!("{repository}:{round}")]);
        let output = command.output()?;
        let ended = Instant::now();
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(said.contains(failure.reason), "the job did not fail as expected: {said}");
        took.push(ended.saturating_duration_since(watch.definite(&round, LIMIT)?));
    }
    Ok(Sample::new(took))
}

//! Measures a job that does nothing, with the command and with what people use today.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::context::Bench;
use super::sample::Sample;

/// Measures jobs on Kubernetes that `longshore run` runs.
pub(crate) fn by_longshore(bench: &Bench<'_>) -> Result<Sample> {
    let mut took = Vec::new();
    for _ in 0..bench.rounds {
        let mut command = bench.longshore();
        command.args(["--image", &bench.image, "--", "true"]);
        let begun = Instant::now();
        let output = command.output()?;
        took.push(begun.elapsed());
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(Sample::new(took))
}

/// Measures the same with kubectl: create, wait, logs, delete.
pub(crate) fn by_kubectl(bench: &Bench<'_>) -> Result<Sample> {
    let mut took = Vec::new();
    for round in 0..bench.rounds {
        let job = format!("bench-{}-{round}", std::process::id());
        let image = format!("--image={}", bench.image);
        let name = format!("job/{job}");
        let begun = Instant::now();
        kubectl(bench, &["create", "job", &job, &image, "--", "true"])?;
        kubectl(bench, &["wait", "--for=condition=complete", "--timeout=120s", &name])?;
        kubectl(bench, &["logs", &name])?;
        kubectl(bench, &["delete", &name])?;
        took.push(begun.elapsed());
    }
    Ok(Sample::new(took))
}

fn kubectl(bench: &Bench<'_>, args: &[&str]) -> Result<()> {
    let output = bench.kubectl().args(args).output()?;
    ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

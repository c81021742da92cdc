//! Checks that many jobs of one absent image cause one pull.

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use longshore::image::PullPolicy;

use super::faulty::{Layer, Mode};
use super::images::Shelf;
use super::play::job;
use super::shop::Shop;
use super::station::Station;
use crate::backend::Backend;

/// The number of jobs.
const JOBS: usize = 50;

/// Submits fifty jobs of one absent image at once, and returns a summary of the requests to the
/// registry.
///
/// A Docker engine is asked for one pull. On Kubernetes the kubelet pulls once for each Pod that
/// finds the image absent (all at once, as `serializeImagePulls` is false). The runtime shares the
/// downloads among these pulls, so that no blob is fetched twice.
pub(crate) async fn fifty_jobs(station: &Station, shop: &Shop, repository: &str) -> Result<String> {
    let layer = Layer::start(shop.open()).await?;
    let shelf = Shelf::new(layer.address.to_string(), &shop.base)?;
    let marker = format!("the only one of {repository}");
    let image = shelf.push(repository, "v1", &marker, 0).await?;
    layer.turn(Mode::Plain);
    let name = format!("localhost:{}/{repository}:v1", layer.address.port());
    let run = || async {
        let (result, output) = station.run(job(&name, PullPolicy::IfNotPresent.into())?).await?;
        ensure!(result.outcome.is_success(), "the job {}", result.outcome);
        ensure!(output.trim_end() == marker, "it ran another image: {output:?}");
        let digest = result.image.and_then(|image| image.resolved);
        ensure!(digest.as_ref() == Some(&image.digest), "it reports the digest {digest:?}");
        Ok(())
    };
    try_join_all((0..JOBS).map(|_| run())).await?;
    let log = layer.log();
    let counted = judge(station.place.backend(), &log, &image.layer);
    station.forget(&[name]).await?;
    shelf.delete(repository, &image).await?;
    counted.with_context(|| format!("the registry's log: {log:#?}"))?;
    let count = |start: &str, part: &str| {
        log.iter().filter(|line| line.starts_with(start) && line.contains(part)).count()
    };
    let (heads, gets) = (count("HEAD ", "/manifests/"), count("GET ", "/manifests/"));
    let blobs = count("GET ", "/blobs/");
    let place = station.place.name();
    Ok(format!(
        "{place}: {JOBS} jobs of one absent image: {heads} HEAD and {gets} GET of manifests, {blobs} GET of blobs"
    ))
}

fn judge(backend: Backend, log: &[String], layer: &str) -> Result<()> {
    let count = |part: &str| {
        log.iter().filter(|line| line.starts_with("GET ") && line.contains(part)).count()
    };
    let layers = count(layer);
    ensure!(layers == 1, "the layer was fetched {layers} times");
    let mut blobs: Vec<_> =
        log.iter().filter(|line| line.starts_with("GET ") && line.contains("/blobs/")).collect();
    let all = blobs.len();
    blobs.sort_unstable();
    blobs.dedup();
    ensure!(blobs.len() == all, "a blob was fetched twice");
    let manifests = count("/manifests/");
    match backend {
        Backend::Kubernetes => {
            ensure!(manifests <= JOBS, "the manifest was fetched {manifests} times");
        }
        _ => ensure!(manifests == 1, "the manifest was fetched {manifests} times"),
    }
    Ok(())
}

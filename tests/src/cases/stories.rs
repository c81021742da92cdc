//! Typical use cases: a private registry, images that are pushed again to the same tag, and a
//! network without a registry.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::case::cases;
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::pull::faulty::{Layer, Upstream};
use crate::pull::images::{Image, Shelf};
use crate::pull::shop::Shop;
use crate::running::Ran;

cases! { "stories":
    a_private_registry_is_used_with_one_setting_for_both [Images, PrivateRegistry],
    ci_that_pushes_the_same_tag_is_seen_under_always [Images],
    an_air_gapped_host_runs_what_was_preloaded_under_never [Images],
}

/// A registry layer in front of the lab's. It stops when this value is dropped.
struct Front {
    layer: Layer,
    shelf: Shelf,
    runtime: Runtime,
}

impl Front {
    fn new(shop: &Shop, upstream: Upstream) -> Result<Self> {
        // It must serve while the case waits for the command.
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build();
        let runtime = runtime.context("failed to start a runtime")?;
        let layer = runtime.block_on(Layer::start(upstream))?;
        let shelf = Shelf::new(layer.address.to_string(), &shop.base)?;
        Ok(Self { layer, shelf, runtime })
    }

    fn push(&self, repository: &str, tag: &str, marker: &str) -> Result<Image> {
        self.runtime.block_on(self.shelf.push(repository, tag, marker, 0))
    }
}

/// Runs a job that prints the marker of its image, with `settings` in the configuration file.
fn run(bench: &Bench, settings: &str, image: &str, flags: &[&str]) -> Result<Ran> {
    let file = bench.folders.file("longshore.toml", settings)?;
    let command = bench.longshore()?.env("JOB_PULLTIMEOUT", "20s").arg("run");
    let command = command.result(bench.folders.result()).arg("--config").arg(file).args(flags);
    command.args(["--image", image, "--", "head", "-n", "1", "/version"]).run()
}

fn ran(ran: &Ran, image: &Image, pulled: bool) -> Checked {
    ran.exits(0)?;
    same("what the image says", ran.text().trim_end(), image.marker.as_str())?;
    let report = &ran.result()?["image"];
    same("the digest", &report["resolved"], image.digest.as_str())?;
    same("whether it was pulled", &report["pulled"], &Value::Bool(pulled))
}

fn refused(ran: &Ran, reason: &str) -> Checked {
    ran.exits(125)?;
    same("stdout", ran.text(), "")?;
    same("the kind", &ran.outcome()?["kind"], "ImageUnavailable")?;
    same("the reason", &ran.outcome()?["reason"], reason)
}

fn a_private_registry_is_used_with_one_setting_for_both(bench: &Bench) -> Checked {
    let shop = Shop::from_env()?;
    let front = Front::new(&shop, shop.private()?)?;
    let repository = bench.repository();
    let image = front.push(&repository, "1", "private")?;
    let server = shop.private()?.host;
    let name = format!("{server}/{repository}:1");
    // The same text for every runner.
    let login = shop.login(&server)?;
    let user = login.username.context("no user")?;
    let settings = |file: &std::path::Path| {
        format!(
            "[[job.registries]]\nserver = {server:?}\nusername = {user:?}\npasswordFile = {file:?}\n"
        )
    };
    let right = settings(&login.password_file.context("no password")?);
    let wrong = bench.folders.file("wrong", "not-the-password\n")?;
    let wrong = settings(&wrong);
    let anonymous = run(bench, "", &name, &[])?;
    refused(&anonymous, "Denied")?;
    says(&anonymous.stderr, &["login: none configured"])?;
    let denied = run(bench, &wrong, &name, &[])?;
    refused(&denied, "Denied")?;
    says(&denied.stderr, &[&format!("login: job.registries[0] (user {user})")])?;
    let file = bench.folders.file("longshore.toml", &right)?;
    let plan = bench.longshore()?.arg("plan").arg("--config").arg(file);
    let plan = plan.args(["--image", &name]).run()?;
    plan.exits(0)?;
    says(&plan.text(), &[&format!("login for {server}: job.registries[0] (user {user})")])?;
    if bench.backend == Backend::Kubernetes {
        let lines = ["kind: Secret", ".dockerconfigjson", "***", "imagePullSecrets:"];
        says(&plan.text(), &lines)?;
    }
    ran(&run(bench, &right, &name, &[])?, &image, true)?;
    // The local copy must not bypass a login that is no longer valid.
    let denied = run(bench, &wrong, &name, &["--pull-policy", "Always,IfNotPresent"])?;
    refused(&denied, "Denied")?;
    ensure!(!denied.stderr.contains("not-the-password"), "{}", denied.stderr);
    ran(&run(bench, &right, &name, &["--pull-policy", "Always"])?, &image, true)
}

fn ci_that_pushes_the_same_tag_is_seen_under_always(bench: &Bench) -> Checked {
    let shop = Shop::from_env()?;
    let front = Front::new(&shop, shop.open())?;
    let repository = bench.repository();
    let name = format!("{}/{repository}:main", shop.open().host);
    let always = "job.imagePullPolicy = 'Always'\n";
    let mut before = None;
    for build in ["build 1", "build 2", "build 3"] {
        let image = front.push(&repository, "main", build)?;
        ensure!(before.as_ref() != Some(&image.digest), "two builds have one digest");
        ran(&run(bench, always, &name, &[])?, &image, true)?;
        before = Some(image.digest);
    }
    let last = front.push(&repository, "main", "build 4")?;
    let kept = run(bench, always, &name, &["--pull-policy", "IfNotPresent"])?;
    same("what is kept without it", kept.text(), "build 3\n")?;
    ran(&run(bench, always, &name, &[])?, &last, true)
}

fn an_air_gapped_host_runs_what_was_preloaded_under_never(bench: &Bench) -> Checked {
    let shop = Shop::from_env()?;
    let front = Front::new(&shop, shop.open())?;
    let repository = bench.repository();
    let image = front.push(&repository, "1", "preloaded")?;
    front.push(&repository, "2", "not preloaded")?;
    let name = format!("{}/{repository}", front.layer.address);
    ran(&run(bench, "", &format!("{name}:1"), &[])?, &image, true)?;
    drop(front);
    let never = "job.imagePullPolicy = 'Never'\n";
    ran(&run(bench, never, &format!("{name}:1"), &[])?, &image, false)?;
    let begun = Instant::now();
    let absent = run(bench, never, &format!("{name}:2"), &[])?;
    refused(&absent, "NotPresent")?;
    ensure!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
    says(&absent.stderr, &["Never"])?;
    // This proves that the registry is gone.
    refused(&run(bench, "", &format!("{name}:2"), &[])?, "Unreachable")
}

//! Images: one policy has one outcome on every backend that has images.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::case::cases;
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::network;
use crate::running::Ran;

cases! { "images":
    always_sees_an_image_pushed_again_and_if_not_present_does_not [Images],
    never_with_an_absent_image_ends_at_once [Images],
    a_tag_that_the_registry_does_not_have_is_not_found [Images],
    a_registry_that_refuses_connections_is_unreachable [Images],
    a_list_of_policies_falls_back_to_the_local_copy [Images],
}

/// Runs a job that prints the version of its image.
fn run(bench: &Bench, policy: &str, image: &str) -> Result<Ran> {
    let command = bench.longshore()?;
    let command = command.env("JOB_PULLTIMEOUT", "20s").env("JOB_STARTTIMEOUT", "20s").arg("run");
    let command = command.result(bench.folders.result()).args(["--pull-policy", policy]);
    command.args(["--image", image, "--", "cat", "/version"]).run()
}

fn ran_version(ran: &Ran, version: &str, report: &Value) -> Checked {
    ran.exits(0)?;
    same("the version", ran.text(), version)?;
    same("the image in the result", &ran.result()?["image"], report)
}

fn refused(ran: &Ran, reason: &str) -> Checked {
    ran.exits(125)?;
    same("stdout", ran.text(), "")?;
    let outcome = ran.outcome()?;
    same("the kind", &outcome["kind"], "ImageUnavailable")?;
    same("the reason", &outcome["reason"], reason)?;
    same("when it started", &ran.result()?["startedAt"], &Value::Null)?;
    says(&ran.stderr, &["the job has no image", reason])
}

fn always_sees_an_image_pushed_again_and_if_not_present_does_not(bench: &Bench) -> Checked {
    let report = |image: &longshore_conformance::Pushed, policy: &str, pulled: bool| {
        json!({
            "requested": image.image.to_string(), "resolved": image.digest,
            "policy": policy, "pulled": pulled, "stale": false,
        })
    };
    let first = bench.push("moving", "first")?;
    let name = first.image.to_string();
    let absent = run(bench, "IfNotPresent", &name)?;
    ran_version(&absent, "first", &report(&first, "IfNotPresent", true))?;
    let second = bench.push("moving", "second")?;
    ensure!(first.digest != second.digest, "both have one digest");
    let kept = run(bench, "IfNotPresent", &name)?;
    ran_version(&kept, "first", &report(&first, "IfNotPresent", false))?;
    let newest = run(bench, "Always", &name)?;
    ran_version(&newest, "second", &report(&second, "Always", true))?;
    let present = run(bench, "Never", &name)?;
    ran_version(&present, "second", &report(&second, "Never", false))
}

fn never_with_an_absent_image_ends_at_once(bench: &Bench) -> Checked {
    let pushed = bench.push("absent", "x")?;
    let begun = Instant::now();
    let ran = run(bench, "Never", &pushed.image.to_string())?;
    ensure!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
    refused(&ran, "NotPresent")
}

fn a_tag_that_the_registry_does_not_have_is_not_found(bench: &Bench) -> Checked {
    let pushed = bench.push("there", "x")?;
    let image = format!("{}/{}:gone", pushed.image.registry(), pushed.image.repository());
    let begun = Instant::now();
    refused(&run(bench, "IfNotPresent", &image)?, "NotFound")?;
    ensure!(begun.elapsed() < Duration::from_secs(15), "it took {:?}", begun.elapsed());
    Ok(())
}

fn a_registry_that_refuses_connections_is_unreachable(bench: &Bench) -> Checked {
    let image = format!("{}/longshore-e2e/refused:1", network::refusing()?);
    for policy in ["Always", "IfNotPresent"] {
        refused(&run(bench, policy, &image)?, "Unreachable")?;
    }
    Ok(())
}

fn a_list_of_policies_falls_back_to_the_local_copy(bench: &Bench) -> Checked {
    let image = format!("{}/longshore-e2e/refused:1", network::refusing()?);
    // The missing local copy is not the reason: an answer would have provided the image.
    refused(&run(bench, "Always,Never", &image)?, "Unreachable")
}

//! The chart: the examples of values, and what a release says about itself.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::case::cases;
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::helm::{Site, Values, chart, chart_folder};
use crate::pull::shop::Shop;

cases! { "helm":
    every_example_is_rendered_without_a_warning,
    the_example_of_a_private_registry_works [PrivateRegistry],
    the_notes_say_the_policy_in_force_and_what_sets_it,
    the_notes_say_what_removes_the_job_of_a_killed_command,
    the_notes_say_what_an_upgrade_does_to_the_run_of_a_schedule,
}

/// Returns the paths of the examples.
fn examples() -> Result<Vec<String>> {
    let folder = chart_folder().join("../examples");
    let files: Vec<_> = fs::read_dir(folder)?.collect::<std::io::Result<_>>()?;
    Ok(files.into_iter().map(|file| file.path().to_string_lossy().into_owned()).collect())
}

fn every_example_is_rendered_without_a_warning(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let examples = examples()?;
    ensure!(examples.len() >= 4, "{examples:?}");
    for example in examples {
        let ran = site.helm(&["lint", "--strict", &chart(), "--values", &example])?;
        ran.exits(0).with_context(|| example.clone())?;
        ensure!(!ran.text().contains("[WARNING]"), "{example}: {}", ran.text());
        // The API server checks each object, too.
        let ran = site.helm(&[
            "install",
            "longshore",
            &chart(),
            "--dry-run=server",
            "--values",
            &example,
        ])?;
        ran.exits(0).with_context(|| example.clone())?;
    }
    site.close()
}

/// A mounted password caused a warning that no mode of the file avoided.
fn the_example_of_a_private_registry_works(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let shop = Shop::from_env()?;
    let server = shop.private()?.host;
    let login = shop.login(&server)?;
    let password = fs::read_to_string(login.password_file.context("no password")?)?;
    site.create(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "harbor" },
        "stringData": { "password": password.trim_end() },
    }))?
    .exits(0)?;
    let user = login.username.context("no user")?;
    let path = "/etc/harbor/password";
    let registry = json!([{ "server": server, "username": user, "passwordFile": path }]);
    let values = Values::new(bench, "echo let in; sleep 3")?
        .with("/image/pullSecrets", json!([]))
        .with("/config/job/registries", registry)
        .with("/job/image", format!("{server}/{}", shop.base))
        .with("/job/imagePullPolicy", "Always");
    let example = chart_folder().join("../examples/private-registry.yaml");
    let values = site.file("values.json", &values.text())?;
    let example = example.to_string_lossy();
    let files = ["--values", &example, "--values", &values];
    site.helm(&[&["install", "longshore", &chart()], &files[..]].concat())?.exits(0)?;
    let secret = &site.running_job()?["spec"]["imagePullSecrets"][0]["name"];
    ensure!(secret.as_str().is_some_and(|it| it.starts_with("longshore-")), "{secret}");
    let job = site.job()?["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    same("the output", site.output(&job)?.as_str(), "let in\n")?;
    let log = site.kubectl(&["logs", &format!("job/{job}")])?;
    ensure!(log.starts_with("longshore: job "), "the log begins with another line: {log}");
    ensure!(!log.contains("warning"), "{log}");
    site.kubectl(&["delete", "secret", "harbor"])?;
    site.uninstall()?;
    site.close()
}

fn the_notes_say_the_policy_in_force_and_what_sets_it(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let list = json!(["Always", "IfNotPresent"]);
    let rules = json!([{ "image": "x/*", "imagePullPolicy": "Never" }]);
    let steps: [(&str, Value, &str); 6] = [
        ("/config/job/imagePullPolicyRules", rules, "IfNotPresent (from the default)"),
        ("/config/job/imagePullPolicy", json!("Never"), "Never (from config.job.imagePullPolicy)"),
        (
            "/config/job/kubernetes/imagePullPolicy",
            json!("Always"),
            "Always (from config.job.kubernetes.imagePullPolicy)",
        ),
        (
            "/cortex/kubernetes/imagePullPolicy",
            json!("Never"),
            "Never (from cortex.kubernetes.imagePullPolicy)",
        ),
        ("/kubernetes/imagePullPolicy", json!("Never"), "Never (from kubernetes.imagePullPolicy)"),
        ("/job/imagePullPolicy", list, "Always, then IfNotPresent (from job.imagePullPolicy)"),
    ];
    let mut values = Values::new(bench, "true")?;
    let last = steps.len() - 1;
    for (number, (path, value, expected)) in steps.into_iter().enumerate() {
        values = values.with(path, value);
        let notes = notes(&site, &values)?;
        says(&notes, &[&format!("{} is {expected}.\n", bench.image()?)])?;
        let ruled = notes.contains("If x/* matches the image, it is Never");
        same("whether the rules are named", ruled, number != last)?;
        says(&notes, &["cancels a job that runs", "upgrade.runningJob: cancel"])?;
    }
    site.close()
}

/// With a schedule, they did not say it.
fn the_notes_say_what_an_upgrade_does_to_the_run_of_a_schedule(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let scheduled = Values::new(bench, "true")?.with("/schedule", "0 3 * * *");
    for (choice, expected) in [
        ("cancel", "An upgrade leaves a run that has begun alone"),
        ("wait", "An upgrade first waits for a run that has begun"),
        ("beside", "An upgrade leaves a run that has begun alone"),
    ] {
        let notes = notes(&site, &scheduled.clone().with("/upgrade/runningJob", choice))?;
        says(&notes, &[expected, &format!("(upgrade.runningJob: {choice})")])?;
    }
    site.close()
}

/// Returns helm's notes of a release with `values`, which is not installed.
fn notes(site: &Site<'_>, values: &Values) -> Result<String> {
    let values = site.file("values.json", &values.text())?;
    let dry = ["--dry-run=client", "--values", &values];
    let ran = site.helm(&[&["install", "longshore", &chart()], &dry[..]].concat())?;
    ran.exits(0)?;
    Ok(ran.text())
}

/// A release without `gc.schedule` did not say that a lost job stays.
fn the_notes_say_what_removes_the_job_of_a_killed_command(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let plain = Values::new(bench, "true")?;
    let hourly = json!("0 * * * *");
    for (path, value, expected) in [
        ("/schedule", json!(""), "The next upgrade removes it; gc.schedule can do it sooner."),
        ("/schedule", hourly.clone(), "The next run removes it; gc.schedule can do it sooner."),
        ("/gc/schedule", hourly, "The CronJob of gc.schedule removes it."),
        ("/kubernetes/ownerReferences", json!(false), "Kubernetes removes it a day after its end"),
    ] {
        let notes = notes(&site, &plain.clone().with(path, value))?;
        says(&notes, &[&format!("the job runs on. {expected}")])?;
    }
    site.close()
}

//! The chart: commands that are lost while their jobs run.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::case::cases;
use crate::bench::Bench;
use crate::check::{Checked, same, says, until};
use crate::helm::{Site, Values};

cases! { "helm":
    a_command_whose_pod_is_deleted_by_force_leaves_no_job_no_pod_and_no_secret,
    a_command_that_is_lost_during_a_pull_leaves_no_job_no_pod_and_no_secret,
    an_uninstall_without_hooks_in_the_middle_of_a_job_leaves_nothing,
    what_a_killed_command_left_is_removed_and_what_a_running_one_has_is_not,
    without_a_schedule_what_a_killed_command_left_is_removed_by_the_next_upgrade,
}

const PATIENCE: Duration = Duration::from_secs(90);
/// The selector for the Pods of the command.
const COMMAND: &str = "app.kubernetes.io/component=command";

/// Returns values with a job that has a Secret with a login and a variable.
fn with_secret(bench: &Bench, script: &str) -> Result<Values> {
    let values = Values::new(bench, script)?
        .with("/extraEnv", json!([{ "name": "HELD", "value": "hunter2" }]))
        .with("/job/secretEnv", json!({ "TOKEN": { "env": "HELD" } }));
    Ok(values)
}

/// Waits until the command has launched its job, and returns what it created, as `KIND NAME`.
fn launched(site: &Site<'_>) -> Result<Vec<String>> {
    let found = until(PATIENCE, "a Job, a Pod and a Secret", || {
        let all = site.launched_objects()?;
        let kinds = ["Job", "Pod", "Secret"];
        let has = |kind| all.iter().any(|it: &String| it.starts_with(kind));
        Ok(kinds.into_iter().all(has).then_some(all))
    });
    found.with_context(|| site.story())
}

fn delete_by_force(site: &Site<'_>) -> Checked {
    let flags = ["--force", "--grace-period=0", "--selector", COMMAND];
    site.kubectl(&[&["delete", "pods"], &flags[..]].concat()).map(drop)
}

/// The Job, its Pod and the Secret stayed for ever.
fn a_command_whose_pod_is_deleted_by_force_leaves_no_job_no_pod_and_no_secret(
    bench: &Bench,
) -> Checked {
    let site = Site::new(bench)?;
    site.install(&with_secret(bench, "sleep 600")?)?;
    site.running_job()?;
    same("the number of objects", launched(&site)?.len(), 3)?;
    delete_by_force(&site)?;
    site.until_cleaned_up()?;
    site.uninstall()?;
    site.close()
}

fn a_command_that_is_lost_during_a_pull_leaves_no_job_no_pod_and_no_secret(
    bench: &Bench,
) -> Checked {
    // A registry that accepts connections and never answers.
    let registry = TcpListener::bind("127.0.0.1:0")?;
    let server = registry.local_addr()?.to_string();
    let site = Site::new(bench)?;
    let login = json!([{ "server": server, "username": "me", "passwordEnv": "HELD" }]);
    let values = with_secret(bench, "true")?
        .with("/config/job/registries", login)
        .with("/config/job/runners", json!(["kubernetes"]))
        .with("/job/image", format!("{server}/never:1"))
        .with("/job/imagePullPolicy", "Always");
    site.install(&values)?;
    launched(&site)?;
    until(PATIENCE, "the pull", || {
        let events = site.get(&["events"])?;
        Ok(events.iter().any(|it| it["reason"] == "Pulling").then_some(()))
    })?;
    delete_by_force(&site)?;
    let only_pods = || {
        let left = site.launched_objects()?;
        Ok(left.iter().all(|it| it.starts_with("Pod ")).then_some(()))
    };
    until(PATIENCE, "the end of Job and Secret", only_pods).with_context(|| site.story())?;
    // The node ends a Pod only when its pull is over.
    drop(registry);
    site.until_cleaned_up()?;
    site.uninstall()?;
    site.close()
}

/// The command lost its permissions before it could clean up.
fn an_uninstall_without_hooks_in_the_middle_of_a_job_leaves_nothing(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    site.install(&with_secret(bench, "sleep 600")?)?;
    launched(&site)?;
    site.running_job()?;
    site.uninstall_with(&["--no-hooks"])?;
    site.close()
}

/// Kills the command of the Job `name` while its Pod stays, as an eviction or the kernel's
/// out-of-memory killer does. The command has a second for its job, which needs longer to end.
fn kill_command(site: &Site<'_>, name: &str) -> Checked {
    let pod = format!("job-name={name}");
    let pods = site.get(&["pods", "--selector", &pod])?;
    let pod = pods.first().context("the command has no Pod")?["metadata"]["name"].as_str();
    let pod = pod.unwrap_or_default();
    let deadline = json!({ "spec": { "activeDeadlineSeconds": 1 } }).to_string();
    site.kubectl(&["patch", "pod", pod, "--patch", &deadline])?;
    until(PATIENCE, "the end of the command", || {
        let phase = site.kubectl(&["get", "pod", pod, "--output=jsonpath={.status.phase}"])?;
        Ok((phase == "Failed").then_some(()))
    })
}

/// Starts a run of the schedule as the Job `name`, and waits until its job runs. Returns the names of
/// the objects that it created.
fn start(site: &Site<'_>, name: &str) -> Result<Vec<String>> {
    let before = site.launched_objects()?;
    site.kubectl(&["create", "job", name, "--from=cronjob/longshore"])?;
    let found = until(PATIENCE, "a further job", || {
        let mut now = site.launched_objects()?;
        now.retain(|it| !before.contains(it));
        let running = site.launched()?;
        let runs = |pod: &Value| {
            let label = format!("Pod {}", pod["metadata"]["name"].as_str().unwrap_or_default());
            pod["status"]["phase"] == "Running" && now.contains(&label)
        };
        Ok((now.len() == 3 && running.iter().any(runs)).then_some(now))
    });
    found.with_context(|| site.story())
}

/// Waits until the Job `name` is complete, and returns what its Pod said.
fn said_by(site: &Site<'_>, name: &str) -> Result<String> {
    site.output(name)?;
    site.kubectl(&["logs", &format!("job/{name}")])
}

fn what_a_killed_command_left_is_removed_and_what_a_running_one_has_is_not(
    bench: &Bench,
) -> Checked {
    let site = Site::new(bench)?;
    let stubborn = with_secret(bench, "trap '' TERM; sleep 600")?
        .with("/schedule", "0 0 29 2 *")
        .with("/gc/schedule", "0 0 29 2 *")
        .with("/job/gracePeriod", "10s")
        .with("/terminationGracePeriodSeconds", 1);
    site.install(&stubborn)?;
    let first = start(&site, "first")?;
    let second = start(&site, "second")?;
    kill_command(&site, "second")?;
    let left = site.launched_objects()?;
    ensure!(second.iter().any(|it| left.contains(it)), "nothing was left: {left:?}");

    site.kubectl(&["create", "job", "clean", "--from=cronjob/longshore-gc"])?;
    let said = said_by(&site, "clean")?;
    says(&said, &["its command's Pod second-", "has ended (Failed): removed"])?;
    let now = || {
        let all = site.launched_objects()?;
        let gone = !second.iter().any(|it| all.contains(it));
        let stays = first.iter().all(|it| all.contains(it));
        ensure!(stays, "{first:?} is not there any more: {all:?}");
        Ok(gone.then_some(()))
    };
    until(PATIENCE, "the end of the killed command's job", now).with_context(|| site.story())?;

    kill_command(&site, "first")?;
    let short = stubborn.with("/job/args", json!(["echo over"]));
    site.upgrade(&short)?;
    site.kubectl(&["create", "job", "third", "--from=cronjob/longshore"])?;
    let said = said_by(&site, "third")?;
    says(&said, &["over\n", "its command's Pod first-", "has ended (Failed): removed"])?;
    site.until_cleaned_up()?;
    site.uninstall()?;
    site.close()
}

/// No CronJob of `gc.schedule` is there to do it.
fn without_a_schedule_what_a_killed_command_left_is_removed_by_the_next_upgrade(
    bench: &Bench,
) -> Checked {
    let site = Site::new(bench)?;
    let stubborn = with_secret(bench, "trap '' TERM; sleep 600")?
        .with("/job/gracePeriod", "3s")
        .with("/terminationGracePeriodSeconds", 1);
    site.install(&stubborn)?;
    let lost = launched(&site)?;
    site.running_job()?;
    let job = site.job()?;
    kill_command(&site, job["metadata"]["name"].as_str().unwrap_or_default())?;
    let left = site.launched_objects()?;
    ensure!(lost.iter().all(|it| left.contains(it)), "{lost:?} is not there any more: {left:?}");
    site.upgrade(&stubborn.with("/job/args", json!(["echo over"])))?;
    let job = site.job()?;
    let output = site.output(job["metadata"]["name"].as_str().unwrap_or_default())?;
    same("the output", output.as_str(), "over\n")?;
    site.until_cleaned_up()?;
    site.uninstall()?;
    site.close()
}

//! The chart: upgrades while a job runs.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::case::cases;
use crate::bench::Bench;
use crate::check::{Checked, same, until};
use crate::helm::{Site, Values};

cases! { "helm":
    an_upgrade_starts_no_job_before_it_has_cancelled_the_one_that_runs,
    an_upgrade_that_waits_lets_the_job_end,
    an_upgrade_that_waits_lets_the_run_of_a_schedule_end,
    an_upgrade_beside_a_job_leaves_it_alone,
}

const PATIENCE: Duration = Duration::from_secs(90);

/// Returns the names of the Pods of jobs that run.
fn running(site: &Site<'_>) -> Result<Vec<String>> {
    let mut pods = site.launched()?;
    pods.retain(|pod| pod["status"]["phase"] == "Running");
    let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    Ok(pods.iter().map(name).collect())
}

fn installed_job(site: &Site<'_>) -> Result<String> {
    let job = site.job()?;
    job["metadata"]["name"].as_str().map(str::to_owned).context("a Job without a name")
}

/// Both ran, until Helm had removed the first command and that had cancelled its job.
fn an_upgrade_starts_no_job_before_it_has_cancelled_the_one_that_runs(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    // It needs five seconds to end.
    let slow = "trap 'sleep 5; exit 0' TERM; sleep 600 & wait";
    let values = Values::new(bench, slow)?.with("/job/gracePeriod", "20s");
    site.install(&values)?;
    let first = site.running_job()?["metadata"]["name"].clone();
    site.upgrade(&values.with("/job/args", json!(["echo second; sleep 3"])))?;
    let second = until(PATIENCE, "the second job", || {
        let running = running(&site)?;
        ensure!(running.len() <= 1, "both run: {running:?}");
        Ok(running.into_iter().find(|name| first != **name))
    });
    second.with_context(|| site.story())?;
    same("the output", site.output(&installed_job(&site)?)?.as_str(), "second\n")?;
    site.uninstall()?;
    site.close()
}

fn an_upgrade_that_waits_lets_the_job_end(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let values = Values::new(bench, "sleep 8; echo first")?.with("/upgrade/runningJob", "wait");
    site.install(&values)?;
    let pod = site.running_job()?["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    site.upgrade(&values.with("/job/args", json!(["echo second"])))?;
    same("the output", site.output(&installed_job(&site)?)?.as_str(), "second\n")?;
    // A job that is cancelled is killed.
    let events = site.get(&["events"])?;
    let killed = |it: &&Value| it["reason"] == "Killing" && it["involvedObject"]["name"] == *pod;
    ensure!(events.iter().find(killed).is_none(), "{}", site.story());
    let of_pod = events.iter().filter(|it| it["involvedObject"]["name"] == *pod).count();
    ensure!(of_pod > 0, "no event is about {pod}");
    site.uninstall()?;
    site.close()
}

fn an_upgrade_that_waits_lets_the_run_of_a_schedule_end(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let values = Values::new(bench, "sleep 3; echo first")?
        .with("/upgrade/runningJob", "wait")
        .with("/schedule", "0 0 29 2 *");
    site.install(&values)?;
    site.kubectl(&["create", "job", "first", "--from=cronjob/longshore"])?;
    site.running_job()?;
    site.upgrade(&values.with("/job/args", json!(["echo second"])))?;
    same("the jobs that run", running(&site)?, Vec::<String>::new())?;
    let commands = site.commands()?;
    let [command] = commands.as_slice() else { anyhow::bail!("{} Pods", commands.len()) };
    same("how the command ended", &command["status"]["phase"], "Succeeded")?;
    same("the output", site.output("first")?.as_str(), "first\n")?;
    site.uninstall()?;
    site.close()
}

fn an_upgrade_beside_a_job_leaves_it_alone(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let script = "until test -e /tmp/go; do sleep 1; done; echo";
    let values =
        Values::new(bench, &format!("{script} first"))?.with("/upgrade/runningJob", "beside");
    site.install(&values)?;
    let first = installed_job(&site)?;
    site.running_job()?;
    site.upgrade(&values.with("/job/args", json!([format!("{script} second")])))?;
    let both = until(PATIENCE, "two jobs that run", || {
        let running = running(&site)?;
        Ok((running.len() == 2).then_some(running))
    });
    for pod in both.with_context(|| site.story())? {
        // The shell ignores what follows its script, such as flags for kubectl.
        let touch =
            ["exec", "--namespace", &site.namespace, &pod, "--", "sh", "-c", "touch /tmp/go"];
        site.kubectl(&touch).with_context(|| site.story())?;
    }
    let jobs = site.get(&["jobs", "--selector", "app.kubernetes.io/managed-by=Helm"])?;
    same("the number of Jobs", jobs.len(), 2)?;
    for job in &jobs {
        let name = job["metadata"]["name"].as_str().unwrap_or_default();
        let expected = if name == first { "first\n" } else { "second\n" };
        same("the output", site.output(name)?.as_str(), expected)?;
        same("when it is removed", &job["spec"]["ttlSecondsAfterFinished"], &json!(86400))?;
    }
    site.kubectl(&["delete", "job", &first])?;
    site.uninstall()?;
    site.close()
}

//! The example service, as its clients see it.

use std::collections::HashMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use super::case::cases;
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says, until};
use crate::service::{Client, Gate, Service, Work, begun};

cases! { "services":
    each_of_200_jobs_ends_once_though_the_service_is_killed,
    a_tenant_reads_output_as_it_is_written_and_sees_no_job_of_another,
    a_job_goes_on_while_its_service_is_replaced,
}

/// How long 200 jobs may take, with other cases on a busy machine.
const LONG: Duration = Duration::from_secs(300);
/// How many requests are under way at once.
const CLIENTS: usize = 16;

/// Returns this suite's backend and those that are there besides. Local processes always are.
fn backends(bench: &Bench) -> Vec<Backend> {
    let mut backends = vec![bench.backend];
    let others = [Backend::Docker, Backend::Process];
    let others = others.into_iter().filter(|it| bench.lab.missing(*it).is_none());
    // Without a lab, a suite for local processes must not depend on what is there.
    backends.extend(others.filter(|_| bench.backend != Backend::Process));
    backends.dedup();
    backends
}

/// Submits each work with its key. Returns the IDs of those that the service has taken.
fn submit(client: &Client, works: &[Work], key: &str) -> HashMap<usize, String> {
    let submit = |works: &[Work]| {
        let answers = works.iter().map(|work| {
            let submitted = client.submit(&format!("{key}-{}", work.number), &work.spec);
            Some((work.number, submitted.ok()?))
        });
        answers.flatten().collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let parts = works.chunks(works.len().div_ceil(CLIENTS).max(1));
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || submit(part))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

/// Waits until each job of `ids` is in one of `states`, and returns all jobs.
fn all_in(
    client: &Client,
    ids: &HashMap<usize, String>,
    states: &[&str],
) -> Result<HashMap<String, Value>> {
    let is_in = |job: &Value| states.iter().any(|state| job["state"] == **state);
    until(LONG, &format!("all jobs to be {states:?}"), || {
        let jobs = client.jobs()?;
        Ok(ids.values().all(|id| jobs.get(id).is_some_and(is_in)).then_some(jobs))
    })
}

fn each_of_200_jobs_ends_once_though_the_service_is_killed(bench: &Bench) -> Checked {
    let backends = backends(bench);
    let gate = Gate::new(bench)?;
    let works = Work::two_hundred(bench, &backends)?;
    let local = works.iter().filter(|work| work.backend == Backend::Process).count();
    let service = Service::start(bench, &backends, "7d")?;
    let client = service.client("ops");
    // They hang in their launch, and must not be in the way of the others.
    let on_hung = json!({"process": {"command": ["true"]}, "runners": ["hangs"]});
    let hung = (0..4).map(|number| client.submit(&format!("hung-{number}"), &on_hung));
    let hung = hung.collect::<Result<Vec<_>>>()?;

    thread::scope(|scope| {
        let submitting = scope.spawn(|| submit(&client, &works, "first"));
        until(LONG, "half of the local jobs to begin", || {
            Ok((begun(bench)?.len() >= local / 2).then_some(()))
        })?;
        service.kill()?;
        submitting.join().map_err(|_| anyhow!("the clients panicked"))
    })?;

    let service = Service::start(bench, &backends, "7d")?;
    let client = service.client("ops");
    // A client without an answer asks again. It gets the same job if the service had taken it.
    let mut ids = submit(&client, &works, "first");
    same("taken works", ids.len(), works.len())?;
    let jobs = all_in(&client, &ids, &["Running", "Ended"])?;
    // What had not begun ends as interrupted, and its client tries again.
    let interrupted = |id: &String| jobs[id]["result"]["outcome"]["reason"] == "Interrupted";
    let again: Vec<_> =
        works.iter().filter(|work| interrupted(&ids[&work.number])).cloned().collect();
    ids.extend(submit(&client, &again, "second"));
    gate.open()?;
    let jobs = all_in(&client, &ids, &["Ended"])?;
    for work in &works {
        let id = &ids[&work.number];
        work.done_by(&jobs[id], &client.get(&format!("/jobs/{id}/logs"))?.body)?;
    }
    let all_local: Vec<_> = (works.len() - local..works.len()).collect();
    same("local works that have begun", begun(bench)?, all_local)?;
    for id in &hung {
        same("a job that hung", &jobs[id]["result"]["outcome"]["reason"], "Interrupted")?;
    }
    service.stop()?;
    nothing_stays(bench, &backends)
}

/// Fails unless a service that keeps nothing removes all jobs.
fn nothing_stays(bench: &Bench, backends: &[Backend]) -> Checked {
    let service = Service::start(bench, backends, "0s")?;
    let client = service.client("ops");
    until(LONG, "all jobs to be removed", || Ok(client.jobs()?.is_empty().then_some(())))?;
    service.stop().context("after the removal")
}

/// Returns a job of this suite's backend that runs `script`.
fn spec(bench: &Bench, script: &str) -> Value {
    let argv = json!(["sh", "-c", script]);
    let image = bench.lab.image.as_deref().unwrap_or_default();
    match bench.backend {
        Backend::Process => json!({"process": {"command": argv}, "runners": ["process"]}),
        backend => json!({
            "container": {"image": image, "command": argv},
            "runners": [backend.name()],
        }),
    }
}

/// Waits for the job's end, and returns its outcome.
fn ended(client: &Client, id: &str) -> Result<Value> {
    let job = until(LONG, "the job's end", || {
        let job = client.get(&format!("/jobs/{id}"))?.json()?;
        Ok((job["state"] == "Ended").then_some(job))
    })?;
    Ok(job["result"]["outcome"].clone())
}

fn a_tenant_reads_output_as_it_is_written_and_sees_no_job_of_another(bench: &Bench) -> Checked {
    let backends = backends(bench);
    let service = Service::start(bench, &backends, "7d")?;
    let (client, guest) = (service.client("ops"), service.client("guest"));
    let id = client.submit("endless", &spec(bench, "echo first; sleep 600"))?;
    client.logs_until(&id, "first\n")?;

    for path in [format!("/jobs/{id}"), format!("/jobs/{id}/logs")] {
        same(&path, guest.get(&path)?.status, 404)?;
    }
    same("a cancel", guest.request("DELETE", &format!("/jobs/{id}"), "")?.status, 404)?;
    same("the guest's jobs", guest.jobs()?.len(), 0)?;
    same("a stranger", service.client("nobody").get("/jobs")?.status, 401)?;
    let refused = guest.request("POST", "/jobs", r#"{"process": {"command": ["id"]}}"#)?;
    same("a local process of a guest", refused.status, 403)?;
    says(&refused.body, &["processes"])?;
    let forged = r#"{"process": {"command": ["id"]}, "labels": {"example.org/tenant": "guest"}}"#;
    same("a forged tenant", client.request("POST", "/jobs", forged)?.status, 400)?;

    let running = client.get("/jobs?state=Running&limit=10")?.json()?;
    same("running jobs", &running["jobs"][0]["id"], &json!(id))?;
    same("its health", client.get("/healthz")?.status, 200)?;
    let metrics = client.get("/metrics")?.body;
    says(&metrics, &["longshore_jobs_submitted_total 1", "longshore_jobs_in_flight 1"])?;
    if bench.backend != Backend::Process {
        let (name, runner) = ("longshore_api_requests_total", bench.backend.name());
        says(&metrics, &[&format!(r#"{name}{{runner="{runner}",code="201"}} "#)])?;
    }

    same("a cancel", client.request("DELETE", &format!("/jobs/{id}"), "")?.status, 202)?;
    same("the outcome", &ended(&client, &id)?["kind"], "Cancelled")?;
    service.stop()?;
    nothing_stays(bench, &backends)
}

fn a_job_goes_on_while_its_service_is_replaced(bench: &Bench) -> Checked {
    let backends = backends(bench);
    let old = Service::start(bench, &backends, "7d")?;
    let id = old.client("ops").submit("slow", &spec(bench, "echo first; sleep 5; exit 3"))?;
    old.client("ops").logs_until(&id, "first\n")?;
    let new = Service::start(bench, &backends, "7d")?;
    old.stop()?;
    let client = new.client("ops");
    same("the outcome", ended(&client, &id)?, json!({"kind": "Exited", "code": 3}))?;
    same("its output", client.get(&format!("/jobs/{id}/logs"))?.body.as_str(), "first\n")?;
    new.stop()?;
    nothing_stays(bench, &backends)
}

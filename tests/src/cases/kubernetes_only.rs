//! What only Kubernetes has: credentials, certificates, and a volume for the job directory.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::case::cases;
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::running::Ran;

cases! { "kubernetes":
    a_kubeconfig_that_is_not_there_lets_the_next_runner_have_the_job,
    a_kubeconfig_that_is_none_lets_the_next_runner_have_the_job,
    a_token_that_is_not_accepted_ends_the_search,
    a_credential_plug_in_leaves_the_jobs_stdin_alone,
    an_authority_that_did_not_sign_the_servers_certificate_is_said,
    a_job_directory_without_a_claim_is_unsupported,
    a_job_directory_outside_the_volume_is_said,
    a_namespace_that_is_not_there_ends_the_search,
    doctor_reports_what_keeps_a_pod_from_being_created,
}

/// Runs a job that may run on Kubernetes or else as a process, and that prints where it ran.
fn either_way(bench: &Bench, kubeconfig: &str) -> Result<Ran> {
    let command =
        bench.with(&[Backend::Kubernetes, Backend::Process])?.env("KUBECONFIG", kubeconfig);
    let command = command.arg("run").result(bench.folders.result()).args(bench.way()?);
    command.args(["--process", "echo process", "--", "echo", "kubernetes"]).run()
}

/// Writes a copy of the lab's kubeconfig, changed by `change`, which receives its cluster and user.
pub(crate) fn changed(
    bench: &Bench,
    change: impl FnOnce(&mut Value, &mut Value),
) -> Result<String> {
    let mut kubectl = Command::new(bench.lab.kubectl.as_deref().context("no kubectl")?);
    kubectl.args(["config", "view", "--raw", "--minify", "--flatten", "--output", "json"]);
    kubectl.env("KUBECONFIG", bench.lab.kubeconfig.as_deref().unwrap_or_default());
    let output = kubectl.output().context("failed to run kubectl")?;
    ensure!(output.status.success(), "kubectl: {}", String::from_utf8_lossy(&output.stderr));
    let mut config: Value = serde_json::from_slice(&output.stdout)?;
    let mut cluster = config["clusters"][0]["cluster"].take();
    let mut user = config["users"][0]["user"].take();
    change(&mut cluster, &mut user);
    config["clusters"][0]["cluster"] = cluster;
    config["users"][0]["user"] = user;
    let path = bench.folders.file("changed.kubeconfig", config.to_string())?;
    Ok(path.to_string_lossy().into_owned())
}

fn passed_over(ran: &Ran, parts: &[&str]) -> Checked {
    ran.exits(0)?;
    same("stdout", ran.text(), "process\n")?;
    let passed = &ran.result()?["passedOver"][0];
    same("who was passed over", &passed["runner"], "kubernetes")?;
    same("why", &passed["kind"], "Unavailable")?;
    says(&ran.stderr, parts)
}

fn ended(bench: &Bench, ran: &Ran, reason: &str, parts: &[&str]) -> Checked {
    ran.exits(125)?;
    same("stdout", ran.text(), "")?;
    same("the kind", &ran.outcome()?["kind"], "NotRun")?;
    same("the reason", &ran.outcome()?["reason"], reason)?;
    same("the runner", &ran.result()?["runner"], bench.backend.name())?;
    says(&ran.stderr, parts)
}

fn a_kubeconfig_that_is_not_there_lets_the_next_runner_have_the_job(bench: &Bench) -> Checked {
    passed_over(&either_way(bench, "/no/such/kubeconfig")?, &["/no/such/kubeconfig"])
}

fn a_kubeconfig_that_is_none_lets_the_next_runner_have_the_job(bench: &Bench) -> Checked {
    let file = bench.folders.file("rubbish", ": : :\n")?.to_string_lossy().into_owned();
    passed_over(&either_way(bench, &file)?, &["kubeconfig", &file])
}

/// The server answers an expired token and an invented one in the same way: 401.
fn a_token_that_is_not_accepted_ends_the_search(bench: &Bench) -> Checked {
    let file = changed(bench, |_, user| *user = json!({"token": "expired-long-ago"}))?;
    let ran = either_way(bench, &file)?;
    ended(bench, &ran, "Denied", &[])?;
    ensure!(!ran.stderr.contains("expired-long-ago"), "it shows the token: {}", ran.stderr);
    Ok(())
}

fn an_authority_that_did_not_sign_the_servers_certificate_is_said(bench: &Bench) -> Checked {
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/another-ca.pem");
    let file = changed(bench, |cluster, _| {
        if let Some(cluster) = cluster.as_object_mut() {
            cluster.remove("certificate-authority-data");
        }
        cluster["certificate-authority"] = json!(authority);
    })?;
    passed_over(&either_way(bench, &file)?, &["certificate"])
}

fn a_job_directory_without_a_claim_is_unsupported(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let command = bench.longshore()?.without("JOB_KUBERNETES_PERSISTENTVOLUMECLAIMNAME");
    let command = command.arg("run").result(bench.folders.result()).args(bench.way()?);
    let ran = command.arg("--job-dir").arg(job.path()).args(["--", "echo", "started"]).run()?;
    ran.exits(125)?;
    same("stdout", ran.text(), "")?;
    let passed = &ran.result()?["passedOver"][0];
    same("why", &passed["kind"], "Unsupported")?;
    says(&ran.stderr, &["persistentVolumeClaimName"])
}

fn a_job_directory_outside_the_volume_is_said(bench: &Bench) -> Checked {
    let outside = bench.folders.root().join("outside");
    for part in ["input", "output"] {
        std::fs::create_dir_all(outside.join(part))?;
    }
    let path = outside.to_string_lossy().into_owned();
    let ran = bench.run(&["--job-dir", &path], "echo started")?;
    ran.exits(125)?;
    same("stdout", ran.text(), "")?;
    says(&ran.stderr, &[&path, "job.directory"])
}

fn a_namespace_that_is_not_there_ends_the_search(bench: &Bench) -> Checked {
    let command = bench.with(&[Backend::Kubernetes, Backend::Process])?;
    let command = command.env("JOB_KUBERNETES_NAMESPACE", "no-such-namespace").arg("run");
    let command = command.result(bench.folders.result()).args(bench.way()?);
    let ran = command.args(["--process", "echo process", "--", "echo", "started"]).run()?;
    ensure!(ran.text() != "started\n", "it ran in a namespace that does not exist");
    says(&ran.stderr, &["no-such-namespace"])
}

/// The Job is accepted, and its Pod would be refused.
fn doctor_reports_what_keeps_a_pod_from_being_created(bench: &Bench) -> Checked {
    let command = bench.longshore()?.env("JOB_KUBERNETES_SERVICEACCOUNTNAME", "nobody");
    let ran =
        command.env("JOB_KUBERNETES_IMAGEPULLSECRETS", "no-such-secret").arg("doctor").run()?;
    ran.exits(1)?;
    let expected = [
        "kubernetes: would refuse jobs",
        "error: the job's Pod would be refused",
        "hint: create the service account, or correct job.kubernetes.serviceAccountName",
        "warning: the Secret `no-such-secret`, with which images are pulled, does not exist",
    ];
    says(&ran.text(), &expected)
}

/// The plug-in read what was meant for the job.
fn a_credential_plug_in_leaves_the_jobs_stdin_alone(bench: &Bench) -> Checked {
    let asked = bench.folders.root().join("asked");
    let kubeconfig = changed(bench, |_, user| {
        let token = user["token"].as_str().unwrap_or_default();
        let answer = json!({"kind": "ExecCredential", "status": {"token": token}});
        let script = format!("cat; echo asked >> {}; echo '{answer}'", asked.display());
        *user = json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "interactiveMode": "IfAvailable",
            "command": "sh",
            "args": ["-c", script],
        }});
    })?;
    let input = bench.folders.file("input", "for the job\n")?;
    let job = bench.script(&[], "cat")?.env("KUBECONFIG", kubeconfig);
    let ran = job.stdin(std::fs::File::open(input)?).run()?;
    ran.exits(0)?;
    same("the job's output", ran.text(), "for the job\n")?;
    let asked = std::fs::read_to_string(asked)?;
    ensure!(asked.starts_with("asked\n"), "the plug-in was not asked: {asked:?}");
    Ok(())
}

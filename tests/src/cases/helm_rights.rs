//! The chart: fewer rights, and protection from others.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::case::cases;
use super::helm::{missing_are, permissions};
use super::kubernetes_only;
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::helm::{Site, Values, chart};

cases! { "helm":
    the_role_allows_only_what_the_values_need,
    a_job_with_a_stdin_is_passed_over_before_it_starts_if_the_role_has_no_attach,
    a_drain_waits_for_command_and_job,
    a_value_of_the_wrong_type_is_refused_by_name_before_anything_is_created,
}

/// Returns the resources that the release's Role allows.
fn allowed(site: &Site<'_>, values: &Values) -> Result<Vec<String>> {
    let role = site.rendered(values, &["templates/role.yaml"])?;
    let role = role.iter().find(|it| it["kind"] == "Role").context("no Role")?;
    let rules = role["rules"].as_array().context("no rules")?;
    let name = |rule: &Value| rule["resources"][0].as_str().unwrap_or_default().to_owned();
    Ok(rules.iter().map(name).collect())
}

fn the_role_allows_only_what_the_values_need(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let plain = Values::new(bench, "true")?;
    let always = ["jobs", "pods", "pods/log", "events"];
    let also = |more: &[&'static str]| [&always, more].concat();
    let login = json!([{ "server": "r.example", "username": "me", "passwordEnv": "X" }]);
    for (path, value, expected) in [
        ("/schedule", json!(""), also(&[])),
        ("/config/job/registries", login, also(&["secrets"])),
        ("/job/secretEnv", json!({ "A": { "env": "B" } }), also(&["secrets"])),
        ("/extraEnv", json!([{ "name": "JOB_REGISTRIES", "value": "[]" }]), also(&["secrets"])),
        ("/rbac/secrets", json!(true), also(&["secrets"])),
        ("/rbac/stdin", json!(true), also(&["pods/attach"])),
        ("/rbac/exec", json!(true), also(&["pods/exec"])),
    ] {
        let values = plain.clone().with(path, value);
        let found = allowed(&site, &values)?;
        same(path, found.iter().map(String::as_str).collect::<Vec<_>>(), expected)?;
    }
    let without = plain.with("/extraEnv", json!([{ "name": "A" }])).with("/rbac/secrets", false);
    same("without", allowed(&site, &without)?, always.map(str::to_owned).to_vec())?;
    site.close()
}

fn a_job_with_a_stdin_is_passed_over_before_it_starts_if_the_role_has_no_attach(
    bench: &Bench,
) -> Checked {
    let site = Site::new(bench)?;
    let files = ["templates/serviceaccount.yaml", "templates/role.yaml"];
    let rendered = site.rendered(&Values::new(bench, "true")?, &files)?;
    for object in &rendered {
        site.create(object)?.exits(0)?;
    }
    let role = rendered.iter().find(|it| it["kind"] == "Role").context("no Role")?;
    let rules = role["rules"].as_array().context("a Role without rules")?;
    let token = site.kubectl(&["create", "token", "longshore", "--duration=1h"])?;
    let token = token.trim();
    let kubeconfig = kubernetes_only::changed(bench, |_, user| *user = json!({ "token": token }))?;
    // Doctor agrees with what the values switch off, and says what does not work.
    let mut missing =
        permissions(&json!({ "resources": ["secrets"], "verbs": ["create", "delete"] }))?;
    for resource in ["pods/attach", "pods/exec"] {
        let rule = json!({ "resources": [resource], "verbs": ["create", "get"] });
        missing.extend(permissions(&rule)?);
    }
    missing_are(bench, &site, &kubeconfig, rules, &missing)?;
    let doctor = bench.longshore()?.env("KUBECONFIG", &kubeconfig).arg("doctor");
    let ran = doctor.env("JOB_KUBERNETES_NAMESPACE", &site.namespace).run()?;
    ran.exits(0)?;
    says(&ran.text(), &["\n  exec: off, not allowed to create pods/exec, get pods/exec: "])?;
    ensure!(!ran.text().contains("warning"), "{}", ran.text());
    let job = |script: &str| -> Result<_> {
        let job = bench.script(&[], script)?.env("KUBECONFIG", &kubeconfig);
        let job = job.env("JOB_KUBERNETES_NAMESPACE", &site.namespace);
        Ok(job.without("JOB_KUBERNETES_PERSISTENTVOLUMECLAIMNAME"))
    };
    let input = bench.folders.file("input", "data\n")?;
    let ran = job("cat")?.stdin(File::open(input)?).run()?;
    ran.exits(125)?;
    same("the outcome", &ran.outcome()?["reason"], "NoRunner")?;
    let why = "it does not support stdin: not allowed to create pods/attach, get pods/attach";
    says(&ran.stderr, &[why])?;
    let created = site.get(&["events"])?;
    same("the number of events", created.len(), 0)?;
    job("exit 3")?.run()?.exits(3)?;
    site.close()
}

fn a_drain_waits_for_command_and_job(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let values = Values::new(bench, "until test -e /tmp/go; do sleep 1; done; echo over")?
        .with("/podDisruptionBudget/create", true)
        .with("/networkPolicy/create", true);
    site.install(&values)?;
    let job = site.running_job()?;
    let command = site.commands()?.first().context("no Pod of the command")?.clone();
    for pod in [&job, &command] {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": { "name": name, "namespace": site.namespace },
        });
        let file = site.file("eviction.json", &eviction.to_string())?;
        let path = format!("/api/v1/namespaces/{}/pods/{name}/eviction", site.namespace);
        let ran = site.try_kubectl(&["create", "--raw", &path, "--filename", &file])?;
        same("the exit code", ran.code(), Some(1))?;
        says(&ran.stderr, &["disruption budget"])?;
    }
    let name = job["metadata"]["name"].as_str().unwrap_or_default();
    // The shell ignores what follows its script, such as flags for kubectl.
    let touch = ["exec", "--namespace", &site.namespace, name, "--", "sh", "-c", "touch /tmp/go"];
    site.kubectl(&touch)?;
    let job = site.job()?;
    let output = site.output(job["metadata"]["name"].as_str().unwrap_or_default())?;
    same("the output", output.as_str(), "over\n")?;
    site.uninstall()?;
    site.close()
}

fn a_value_of_the_wrong_type_is_refused_by_name_before_anything_is_created(
    bench: &Bench,
) -> Checked {
    let site = Site::new(bench)?;
    let wrong = [
        ("/image", json!("longshore:1")),
        ("/image/tag", json!(1.10)),
        ("/image/pullPolicy", json!("always")),
        ("/image/pullSecrets", json!(["harbor"])),
        ("/kubernetes/directory", json!("jobs")),
        ("/kubernetes/ownerReferences", json!("yes")),
        ("/config", json!("runners: [kubernetes]")),
        ("/config/job/timeout", json!(true)),
        ("/config/job/registries", json!({ "server": "r.example" })),
        ("/config/job/kubernetes/labels", json!(["a=b"])),
        ("/job/args", json!("--all")),
        ("/job/env", json!(["A=b"])),
        ("/job/env", json!({ "A": 1 })),
        ("/job/timeout", json!([30])),
        ("/job/stdin", json!(true)),
        ("/schedule", json!(3)),
        ("/schedule", json!("every night")),
        ("/gc/schedule", json!("10")),
        ("/cronJob/suspend", json!("true")),
        ("/cronJob/failedJobsHistoryLimit", json!(-1)),
        ("/serviceAccount/annotations", json!({ "a": 1 })),
        ("/rbac/create", json!("true")),
        ("/rbac/secrets", json!("never")),
        ("/upgrade/runningJob", json!("Wait")),
        ("/state/directory", json!("state")),
        ("/state/sizeLimit", json!("64 MB")),
        ("/terminationGracePeriodSeconds", json!("60s")),
        ("/ttlSecondsAfterFinished", json!(0)),
        ("/resources", json!({ "cpu": "1" })),
        ("/resources/limits", json!({ "memory": "lots" })),
        ("/podLabels", json!({ "a": true })),
        ("/podAnnotations", json!({ "a": 1 })),
        ("/podSecurityContext/runAsUser", json!("nobody")),
        ("/securityContext/capabilities", json!(["ALL"])),
        ("/extraEnv", json!({ "A": "b" })),
        ("/extraEnv", json!([{ "name": "A", "value": 1 }])),
        ("/extraVolumes", json!([{ "secret": { "secretName": "x" } }])),
        ("/extraVolumeMounts", json!([{ "name": "a", "mountPath": "b" }])),
        ("/nodeSelector", json!({ "a": true })),
        ("/tolerations", json!([{ "operator": "exists" }])),
        ("/affinity", json!({ "nodeaffinity": {} })),
        ("/priorityClassName", json!(["high"])),
        ("/podDisruptionBudget/create", json!(1)),
        ("/networkPolicy/egress", json!({ "ports": [] })),
        ("/nowhere", json!(1)),
    ];
    for (path, value) in wrong {
        let values = Values::new(bench, "true")?.with(path, value.clone());
        let values = site.file("values.json", &values.text())?;
        let ran = site.helm(&["install", "longshore", &chart(), "--values", &values])?;
        same(&format!("the exit code with {path}: {value}"), ran.code(), Some(1))?;
        let name = path.trim_start_matches('/').split('/').next_back().unwrap_or_default();
        says(&ran.stderr, &["don't meet the specifications of the schema", name])?;
    }
    let releases = site.helm(&["list", "--all", "--short"])?;
    same("the releases", releases.text().as_str(), "")?;
    same("what was created", site.left()?, Vec::<String>::new())?;
    site.close()
}

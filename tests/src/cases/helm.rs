//! The chart: `longshore run` inside a cluster.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::case::cases;
use super::kubernetes_only;
use crate::bench::Bench;
use crate::check::{Checked, same, says, until};
use crate::helm::{Site, Values, chart};

cases! { "helm":
    the_chart_has_nothing_that_helm_warns_of,
    a_policy_that_is_none_is_refused_by_the_charts_schema,
    what_is_not_set_sets_no_variable,
    the_values_of_cortexs_chart_have_the_same_effect,
    the_charts_pods_are_admitted_where_the_restricted_standard_is_enforced,
    the_role_allows_what_doctor_asks_for_and_nothing_else,
    each_upgrade_with_another_policy_runs_the_job_with_that_policy,
    an_upgrade_that_changes_nothing_runs_nothing,
    a_claim_is_handed_on_to_the_job,
    a_command_whose_pod_is_deleted_ends_its_job_and_cleans_up,
    an_uninstall_in_the_middle_of_a_job_leaves_nothing,
    a_schedule_becomes_a_cron_job,
}

/// Returns values that set everything, so that no branch of the templates is untested.
fn everything(bench: &Bench) -> Result<Values> {
    let settings = [
        ("/image/pullSecrets", json!([{ "name": "harbor" }])),
        ("/kubernetes/imagePullPolicy", json!("Never")),
        ("/kubernetes/persistentVolumeClaimName", json!("jobs")),
        (
            "/config/job/imagePullPolicyRules",
            json!([{ "image": "a/*", "imagePullPolicy": "Always" }]),
        ),
        ("/job/name", json!("all of it")),
        ("/job/workingDir", json!("/tmp")),
        ("/job/env", json!({ "LANG": "C" })),
        ("/job/timeout", json!("10m")),
        ("/job/imagePullPolicy", json!(["Always", "IfNotPresent"])),
        ("/serviceAccount/annotations", json!({ "a/b": "c" })),
        ("/podAnnotations", json!({ "a/b": "c" })),
        ("/podLabels", json!({ "a/b": "c" })),
        ("/ttlSecondsAfterFinished", json!(3600)),
        ("/extraEnv", json!([{ "name": "LONGSHORE_LOG", "value": "debug" }])),
        ("/extraVolumes", json!([{ "name": "password", "secret": { "secretName": "x" } }])),
        ("/extraVolumeMounts", json!([{ "name": "password", "mountPath": "/password" }])),
        ("/nodeSelector", json!({ "a/b": "c" })),
        ("/tolerations", json!([{ "key": "a", "operator": "Exists" }])),
        ("/affinity", json!({ "nodeAffinity": {} })),
        ("/priorityClassName", json!("low")),
        ("/gc/schedule", json!("*/10 * * * *")),
        ("/upgrade/runningJob", json!("wait")),
        ("/podDisruptionBudget/create", json!(true)),
        ("/networkPolicy/create", json!(true)),
    ];
    let values = Values::new(bench, "true")?;
    Ok(settings.into_iter().fold(values, |values, (path, value)| values.with(path, value)))
}

fn the_chart_has_nothing_that_helm_warns_of(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let once = everything(bench)?;
    let scheduled = once
        .clone()
        .with("/schedule", "0 3 * * *")
        .with("/cronJob/timeZone", "Etc/UTC")
        .with("/cronJob/startingDeadlineSeconds", 60);
    for (values, objects) in [(Values::new(bench, "true")?, 6), (once, 11), (scheduled, 12)] {
        same("the number of objects", site.rendered(&values, &[])?.len(), objects)?;
        let values = site.file("values.json", &values.text())?;
        let ran = site.helm(&["lint", "--strict", &chart(), "--values", &values])?;
        ran.exits(0)?;
        says(&ran.text(), &["1 chart(s) linted, 0 chart(s) failed"])?;
        ensure!(!ran.text().contains("[WARNING]"), "{}", ran.text());
    }
    site.close()
}

fn a_policy_that_is_none_is_refused_by_the_charts_schema(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    for (path, value) in [
        ("/kubernetes/imagePullPolicy", json!("Sometimes")),
        ("/kubernetes/imagePullPolicy", json!("always")),
        ("/job/imagePullPolicy", json!(["Always", "Sometimes"])),
        ("/kubernetes/imagepullpolicy", json!("Always")),
        ("/cortex/kubernetes/imagePullPolicy", json!("Sometimes")),
        ("/cortex/kubernetes/directory", json!("/jobs")),
        ("/config/job/imagePullPolicy", json!("Sometimes")),
        ("/config/job/kubernetes/imagePullPolicy", json!(["Always", "Sometimes"])),
        ("/config/job/imagePullPolicyRules", json!([{ "image": "a/*", "imagePullPolicy": "No" }])),
        ("/config/job/imagePullPolcy", json!("Always")),
        ("/config/job/runners", json!("kubernetes")),
    ] {
        let values = Values::new(bench, "true")?.with(path, value.clone());
        let values = site.file("values.json", &values.text())?;
        let ran = site.helm(&["install", "longshore", &chart(), "--values", &values])?;
        ensure!(ran.code() == Some(1), "{path}={value} is not refused: {}", ran.text());
        says(
            &ran.stderr,
            &["schema", path.trim_start_matches('/').split('/').next().unwrap_or("")],
        )?;
    }
    site.close()
}

/// Returns the variables of a Pod's only container, sorted.
fn variables(pod: &Value) -> Result<Vec<(String, String)>> {
    let env = pod["spec"]["containers"][0]["env"].as_array().context("it has no variables")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> = env.iter().map(|it| (text(&it["name"]), text(&it["value"]))).collect();
    all.sort_unstable();
    Ok(all)
}

/// Returns the templates of all Pods that the chart creates with `values`.
fn templates(site: &Site<'_>, values: &Values) -> Result<Vec<Value>> {
    let files = ["templates/workload.yaml", "templates/uninstall.yaml"];
    let objects = site.rendered(values, &files)?;
    Ok(objects
        .iter()
        .map(|object| match &object["spec"]["jobTemplate"]["spec"]["template"] {
            Value::Null => object["spec"]["template"].clone(),
            template => template.clone(),
        })
        .collect())
}

fn what_is_not_set_sets_no_variable(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let always = [
        ("JOB_INSTALLATION", "longshore-"),
        ("JOB_KUBERNETES_OWNERPOD_NAME", ""),
        ("JOB_KUBERNETES_OWNERPOD_NAMESPACE", ""),
        ("JOB_KUBERNETES_OWNERPOD_UID", ""),
        ("JOB_STATEDIRECTORY", "/var/lib/longshore"),
    ];
    let plain = Values::new(bench, "true")?;
    let null = plain
        .clone()
        .with("/kubernetes/imagePullPolicy", Value::Null)
        .with("/kubernetes/persistentVolumeClaimName", Value::Null);
    for values in [plain, null] {
        let set = variables(&templates(&site, &values)?[0])?;
        same("the number of variables", set.len(), always.len())?;
        for ((name, value), (expected, begin)) in set.iter().zip(always) {
            same("the variable", name.as_str(), expected)?;
            let rest = value.strip_prefix(begin).with_context(|| format!("{name} is {value}"))?;
            ensure!(rest.is_empty() || name == "JOB_INSTALLATION", "{name} is {value}");
        }
    }
    site.close()
}

fn the_values_of_cortexs_chart_have_the_same_effect(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let with = |section: &str, claim: &str| -> Result<Values> {
        let values = Values::new(bench, "true")?;
        let values = values.with(&format!("{section}/imagePullPolicy"), "Never");
        Ok(values.with(&format!("{section}/persistentVolumeClaimName"), claim))
    };
    let (own, cortexs) = (with("/kubernetes", "jobs")?, with("/cortex/kubernetes", "jobs")?);
    same("the objects", site.rendered(&cortexs, &[])?, site.rendered(&own, &[])?)?;
    let both = cortexs.with("/kubernetes/persistentVolumeClaimName", "other");
    let values = site.file("values.json", &both.text())?;
    let ran = site.helm(&["template", "longshore", &chart(), "--values", &values])?;
    ensure!(ran.code() == Some(1), "two claims are not refused: {}", ran.text());
    says(&ran.stderr, &["kubernetes.persistentVolumeClaimName is other", "set only one of them"])?;
    site.close()
}

fn the_charts_pods_are_admitted_where_the_restricted_standard_is_enforced(
    bench: &Bench,
) -> Checked {
    let site = Site::new(bench)?;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    site.kubectl(&["label", "namespace", &site.namespace, label])?;
    let values = Values::new(bench, "true")?;
    site.create(&json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "longshore" },
    }))?
    .exits(0)?;
    let scheduled = values.clone().with("/schedule", "0 3 * * *");
    let mut pods = templates(&site, &values)?;
    pods.extend(templates(&site, &scheduled)?);
    same("the number of Pods", pods.len(), 5)?;
    for (number, mut pod) in pods.into_iter().enumerate() {
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = json!(format!("pod-{number}"));
        // It is admitted, and then waits for a node that does not exist.
        pod["spec"]["nodeSelector"] = json!({ "nowhere": "true" });
        site.create(&pod)?.exits(0)?;
        pod["metadata"]["name"] = json!(format!("other-{number}"));
        pod["spec"]["securityContext"] = json!({});
        let refused = site.create(&pod)?;
        same("the exit code", refused.code(), Some(1))?;
        says(&refused.stderr, &["PodSecurity"])?;
    }
    site.close()
}

/// Runs `longshore doctor` with the release's service account.
fn doctor(bench: &Bench, site: &Site<'_>, kubeconfig: &str) -> Result<String> {
    let command = bench.longshore()?.env("KUBECONFIG", kubeconfig).arg("doctor");
    Ok(command.env("JOB_KUBERNETES_NAMESPACE", &site.namespace).run()?.text())
}

/// Replaces the rules of the release's Role and waits until doctor names `missing` and nothing
/// else: a Role's change takes effect in the API server a moment later.
pub(super) fn missing_are(
    bench: &Bench,
    site: &Site<'_>,
    kubeconfig: &str,
    rules: &[Value],
    missing: &[String],
) -> Checked {
    let patch = json!([{ "op": "replace", "path": "/rules", "value": rules }]).to_string();
    site.kubectl(&["patch", "role", "longshore", "--type=json", "--patch", &patch])?;
    let missing: BTreeSet<&str> = missing.iter().map(String::as_str).collect();
    let mut said = String::new();
    let named = until(Duration::from_secs(20), "doctor to name what is missing", || {
        said = doctor(bench, site, kubeconfig)?;
        Ok((named_by(&said) == missing).then_some(()))
    });
    named.with_context(|| format!("expected {missing:?}, doctor says {said}"))
}

/// Returns what doctor reports as not allowed: `not allowed to WHAT, WHAT`, followed by the place
/// or the consequence.
fn named_by(said: &str) -> BTreeSet<&str> {
    let lists = said.split("not allowed to ").skip(1);
    let lists = lists.filter_map(|rest| rest.split([':', '(', '\n']).next());
    lists.flat_map(|list| list.trim().split(", ")).collect()
}

/// Returns `verb resource` for each verb of `rule`.
pub(super) fn permissions(rule: &Value) -> Result<Vec<String>> {
    let resource = rule["resources"][0].as_str().context("a rule without a resource")?;
    same("the resources of a rule", rule["resources"].as_array().map(Vec::len), Some(1))?;
    let verbs = rule["verbs"].as_array().context("a rule without verbs")?;
    Ok(verbs.iter().filter_map(Value::as_str).map(|verb| format!("{verb} {resource}")).collect())
}

fn the_role_allows_what_doctor_asks_for_and_nothing_else(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let files = ["templates/serviceaccount.yaml", "templates/role.yaml"];
    let values = Values::new(bench, "true")?
        .with("/rbac/secrets", true)
        .with("/rbac/stdin", true)
        .with("/rbac/exec", true);
    let objects = site.rendered(&values, &files)?;
    for object in &objects {
        site.create(object)?.exits(0)?;
    }
    let role = objects.iter().find(|it| it["kind"] == "Role").context("no Role")?;
    let rules = role["rules"].as_array().context("a Role without rules")?.clone();
    let token = site.kubectl(&["create", "token", "longshore", "--duration=1h"])?;
    let token = token.trim();
    let kubeconfig = kubernetes_only::changed(bench, |_, user| *user = json!({ "token": token }))?;
    missing_are(bench, &site, &kubeconfig, &rules, &[])?;
    for (at, rule) in rules.iter().enumerate() {
        let mut others = rules.clone();
        others.remove(at);
        let all = permissions(rule)?;
        missing_are(bench, &site, &kubeconfig, &others, &all)?;
        for (verb, permission) in all.iter().enumerate().filter(|_| all.len() > 1) {
            let mut fewer = rules.clone();
            fewer[at]["verbs"].as_array_mut().context("no verbs")?.remove(verb);
            missing_are(bench, &site, &kubeconfig, &fewer, std::slice::from_ref(permission))?;
        }
    }
    missing_are(bench, &site, &kubeconfig, &rules, &[])?;
    let job = bench.script(&[], "echo allowed; exit 3")?.env("KUBECONFIG", &kubeconfig);
    let ran = job
        .env("JOB_KUBERNETES_NAMESPACE", &site.namespace)
        .without("JOB_KUBERNETES_PERSISTENTVOLUMECLAIMNAME")
        .run()?;
    ran.exits(3)?;
    same("stdout", ran.text(), "allowed\n")?;
    site.close()
}

fn each_upgrade_with_another_policy_runs_the_job_with_that_policy(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let values = Values::new(bench, "echo begun; sleep 3; echo over")?;
    let mut jobs = Vec::new();
    for policy in ["Always", "IfNotPresent", "Never"] {
        let values = values.clone().with("/kubernetes/imagePullPolicy", policy);
        if jobs.is_empty() { site.install(&values) } else { site.upgrade(&values) }?;
        let pod = site.running_job()?;
        let labels = &pod["metadata"]["labels"];
        same("the release", &labels["app.kubernetes.io/instance"], "longshore")?;
        same("the component", &labels["app.kubernetes.io/component"], "job")?;
        let container = &pod["spec"]["containers"][0];
        same("the policy of the job's Pod", &container["imagePullPolicy"], policy)?;
        let job = site.job()?["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        same("the output", site.output(&job)?.as_str(), "begun\nover\n")?;
        site.until_cleaned_up()?;
        jobs.push(job);
    }
    let names: BTreeSet<_> = jobs.iter().collect();
    same("the number of Jobs", names.len(), 3)?;
    let revisions = site.helm(&["history", "longshore", "--output", "json"])?.text();
    let revisions: Vec<Value> = serde_json::from_str(&revisions)?;
    same("the last revision", &revisions[2]["status"], "deployed")?;
    site.uninstall()?;
    site.close()
}

fn an_upgrade_that_changes_nothing_runs_nothing(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let values = Values::new(bench, "echo once")?.with("/kubernetes/imagePullPolicy", "Always");
    site.install(&values)?;
    let before = site.job()?;
    let name = before["metadata"]["name"].as_str().context("a Job without a name")?;
    same("the output", site.output(name)?.as_str(), "once\n")?;
    site.upgrade(&values)?;
    same("the Job", &site.job()?["metadata"]["uid"], &before["metadata"]["uid"])?;
    same("the number of Pods", site.commands()?.len(), 1)?;
    site.uninstall()?;
    site.close()
}

fn a_claim_is_handed_on_to_the_job(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let directory = bench.folders.job_directory("job")?;
    directory.input("question", "6 x 7")?;
    let volume = directory.path().parent().context("the job directory has no parent")?;
    // The command is not root in its Pod.
    std::fs::set_permissions(volume, std::fs::Permissions::from_mode(0o755))?;
    let claim = site.claim(volume)?;
    let values = Values::new(bench, "cat /job/input/question > /job/output/answer; sleep 3")?
        .with("/kubernetes/persistentVolumeClaimName", claim)
        .with("/job/jobDirectory", "/jobs/job");
    site.install(&values)?;
    let volumes = site.running_job()?["spec"]["volumes"].to_string();
    says(&volumes, &[&format!("\"claimName\":\"{claim}\"")])?;
    let variables = variables(site.commands()?.first().context("no Pod of the command")?)?;
    let variable = ("JOB_KUBERNETES_PERSISTENTVOLUMECLAIMNAME".to_owned(), claim.to_owned());
    ensure!(variables.contains(&variable), "{variables:?}");
    let job = site.job()?;
    site.output(job["metadata"]["name"].as_str().unwrap_or_default())?;
    same("the answer", directory.output("answer").as_deref(), Some("6 x 7"))?;
    site.uninstall()?;
    site.close()
}

fn a_command_whose_pod_is_deleted_ends_its_job_and_cleans_up(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    site.install(&Values::new(bench, "sleep 600")?)?;
    site.running_job()?;
    site.kubectl(&["delete", "pods", "--selector", "app.kubernetes.io/component=command"])?;
    site.until_cleaned_up()?;
    site.uninstall()?;
    site.close()
}

fn an_uninstall_in_the_middle_of_a_job_leaves_nothing(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    site.install(&Values::new(bench, "sleep 600")?)?;
    site.running_job()?;
    site.uninstall()?;
    site.close()
}

fn a_schedule_becomes_a_cron_job(bench: &Bench) -> Checked {
    let site = Site::new(bench)?;
    let values = Values::new(bench, "echo scheduled; sleep 3")?
        .with("/schedule", "0 0 29 2 *")
        .with("/cronJob/timeZone", "Etc/UTC")
        .with("/kubernetes/imagePullPolicy", "Always");
    site.install(&values)?;
    site.kubectl(&["create", "job", "first", "--from=cronjob/longshore"])?;
    let container = &site.running_job()?["spec"]["containers"][0];
    same("the policy of the job's Pod", &container["imagePullPolicy"], "Always")?;
    same("the output", site.output("first")?.as_str(), "scheduled\n")?;
    let longer = values.with("/job/args", json!(["sleep 600"]));
    site.upgrade(&longer)?;
    site.kubectl(&["create", "job", "second", "--from=cronjob/longshore"])?;
    site.running_job()?;
    site.uninstall()?;
    site.close()
}

//! The administrator's patch of Pods, as the API server has it.

use std::sync::Arc;

use futures::FutureExt;
use longshore_core::{ErrorKind, Runner, RunnerName};
use longshore_kubernetes::KubernetesRunner;
use serde_json::json;

use crate::{Body, Case, Checked, check, end, launch, output, refused};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![
        ("a_pod_has_what_the_template_says_beside_what_the_job_says", |c| {
            a_pod_has_what_the_template_says_beside_what_the_job_says(c).boxed()
        }),
        ("a_template_that_the_api_server_refuses_is_named_and_nothing_is_left", |c| {
            a_template_that_the_api_server_refuses_is_named_and_nothing_is_left(c).boxed()
        }),
    ]
}

fn runner(case: &Case, template: serde_json::Value) -> Checked<KubernetesRunner> {
    let pod_template = Some(serde_json::from_value(template)?);
    let mut config = case.lab.config();
    config.pod_template = pod_template;
    Ok(KubernetesRunner::new(RunnerName::kubernetes(), config))
}

async fn a_pod_has_what_the_template_says_beside_what_the_job_says(case: Arc<Case>) -> Checked {
    let toleration = json!({"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"});
    let template = json!({
        "metadata": {"annotations": {"team.example.org/cost": "42"}},
        "spec": {
            "securityContext": {"fsGroup": 4242, "seLinuxOptions": {"level": "s0:c1,c2"}},
            "tolerations": [toleration],
            "volumes": [
                {"name": "scratch", "emptyDir": {}},
                {"name": "ca", "configMap": {"name": "kube-root-ca.crt"}},
                {"name": "absent", "secret": {"secretName": "absent", "optional": true}},
            ],
            "containers": [{
                "name": "job",
                "env": [{"name": "FROM_TEMPLATE", "value": "yes"}],
                "securityContext": {"appArmorProfile": {"type": "Unconfined"}},
                "volumeMounts": [
                    {"name": "scratch", "mountPath": "/scratch"},
                    {"name": "ca", "mountPath": "/ca", "readOnly": true},
                    {"name": "absent", "mountPath": "/absent"},
                ],
            }],
        },
    });
    let runner = runner(&case, template)?;
    let script = "stat -c %g /scratch; echo $FROM_TEMPLATE $FROM_JOB; ls /ca /absent; sleep 2";
    let mut spec = case.lab.job(script);
    spec.env.insert("FROM_JOB".to_owned(), "too".to_owned());
    let attempt = case.attempt(spec);
    let started = launch(&runner, &attempt).await?;
    let pods = case.lab.pods().list(&case.pods()).await?.items;
    let [pod] = pods.as_slice() else { return Err(format!("{} Pods", pods.len()).into()) };
    let pod = serde_json::to_value(pod)?;
    let report = end(&runner, &started.handle).await?;
    check(report.outcome.is_success(), || format!("{:?}", report.outcome))?;
    let printed = output(&runner, &started.handle).await?;
    let expected = b"4242\nyes too\n/absent:\n\n/ca:\nca.crt\n";
    check(printed == expected, || String::from_utf8_lossy(&printed).into_owned())?;
    runner.remove(&started.handle).await?;

    let same = |what: &str, seen: &serde_json::Value, expected: serde_json::Value| {
        check(*seen == expected, || format!("{what}: {seen}"))
    };
    let annotation = &pod["metadata"]["annotations"]["team.example.org/cost"];
    same("annotation", annotation, json!("42"))?;
    same("fsGroup", &pod["spec"]["securityContext"]["fsGroup"], json!(4242))?;
    let level = &pod["spec"]["securityContext"]["seLinuxOptions"]["level"];
    same("SELinux", level, json!("s0:c1,c2"))?;
    let security = &pod["spec"]["containers"][0]["securityContext"];
    same("AppArmor", &security["appArmorProfile"]["type"], json!("Unconfined"))?;
    same("what the job's profile sets", &security["allowPrivilegeEscalation"], json!(false))?;
    let tolerations = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    check(tolerations.contains(&toleration), || format!("{tolerations:?}"))?;
    // What the job and Longshore say is still there.
    same("restartPolicy", &pod["spec"]["restartPolicy"], json!("Never"))?;
    let label = &pod["metadata"]["labels"]["longshore.dev/attempt"];
    same("label", label, json!(attempt.id.to_string()))?;
    same("containers", &json!(pod["spec"]["containers"].as_array().map(Vec::len)), json!(1))?;
    let image = &pod["spec"]["containers"][0]["image"];
    same("image", image, json!(case.lab.image.to_string()))
}

/// The types of the API allow it, and its rules do not.
async fn a_template_that_the_api_server_refuses_is_named_and_nothing_is_left(
    case: Arc<Case>,
) -> Checked {
    let mounts = json!([{"name": "absent", "mountPath": "/absent"}]);
    let containers = json!([{"name": "job", "volumeMounts": mounts}]);
    let runner = runner(&case, json!({"spec": {"containers": containers}}))?;
    let error = refused(launch(&runner, &case.script("true")).await)?;
    check(error.kind() == ErrorKind::InvalidSpec, || format!("{error:?}"))?;
    let said = error.to_string();
    check(said.contains("volumeMounts[0].name") && said.contains("absent"), || said)?;
    let left = case.lab.leftovers(std::slice::from_ref(&case.installation)).await?;
    check(left.is_empty(), || format!("{left:?}"))
}

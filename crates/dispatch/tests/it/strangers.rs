//! Specs of strangers under a policy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use longshore_conformance::Forwarding;
use longshore_conformance::simulated::{Script, World};
use longshore_core::{
    ErrorKind, HumanDuration, JobSpec, PullPolicy, RegistryAuth, RunnerName, Secret, SecretSource,
    SecurityProfile,
};
use longshore_dispatch::{Dispatcher, PolicyViolation, Settings, SpecPolicy, Submission};
use longshore_journal::{Filter, Journal};
use serde_json::{Value, json};

use crate::hostile::{LEFT_TO_THE_JOB, hostile, login, spec};
use crate::registry::{Puller, Registry};
use crate::support::*;

/// Collects the paths of all values that a document of `schema` can have.
fn leaves(root: &Value, schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return leaves(root, &root["$defs"][name], path, found);
    }
    let mut inner = Vec::new();
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let dot = if path.is_empty() { "" } else { "." };
        inner.push((format!("{path}{dot}{key}"), property));
    }
    if schema["additionalProperties"].is_object() {
        inner.push((format!("{path}.*"), &schema["additionalProperties"]));
    }
    if schema["items"].is_object() {
        inner.push((format!("{path}[]"), &schema["items"]));
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        for option in schema[choice].as_array().into_iter().flatten() {
            let is_value = option["type"] == "null" || option.get("const").is_some();
            if !is_value {
                inner.push((path.to_owned(), option));
            }
        }
    }
    match inner.is_empty() {
        true => drop(found.insert(path.to_owned())),
        false => inner.into_iter().for_each(|(path, schema)| leaves(root, schema, &path, found)),
    }
}

#[test]
fn every_field_of_a_job_has_a_hostile_spec_or_a_reason_why_none_is_possible() {
    let schema = schemars::schema_for!(JobSpec).to_value();
    let mut all = BTreeSet::new();
    leaves(&schema, &schema, "", &mut all);
    let tried: BTreeSet<String> = hostile().iter().map(|row| row.0.to_owned()).collect();
    let left: BTreeSet<String> = LEFT_TO_THE_JOB.iter().map(|row| row.0.to_owned()).collect();
    // One policy, or a list of them: one value for the rule.
    let name = |path: &String| match path.as_str() {
        "imagePullPolicy[]" => "imagePullPolicy".to_owned(),
        path => path.to_owned(),
    };
    let all: BTreeSet<String> = all.iter().map(name).collect();
    let decided: BTreeSet<String> = tried.union(&left).cloned().collect();
    assert_eq!(decided, all, "decide what a stranger may do with each field");
    assert_eq!(tried.intersection(&left).next(), None);
}

#[test]
fn by_default_a_strangers_spec_reads_nothing_of_the_service_and_the_refusal_names_the_rule() {
    let policy = SpecPolicy::default();
    assert_eq!(policy.check(&spec(json!({}))), Ok(()));
    for (path, patch, rule, field) in hostile() {
        let refused = policy.check(&spec(patch.clone())).expect_err(&format!("{path}: {patch}"));
        assert_eq!((&*refused.rule, refused.field.as_str()), (rule, field), "{patch}");
        let text = refused.to_string();
        assert!(text.contains(rule) && text.contains(field), "{text}");
    }
}

#[test]
fn what_a_policy_leaves_to_the_job_is_allowed() {
    let everything = json!({
        "container": {"command": ["sh"], "args": ["-c", "x"], "workingDir": "/", "init": false},
        "env": {"LD_PRELOAD": "x"},
        "stdin": true,
        "tty": true,
        "resources": {"limits": {"cpu": 64, "memory": "1Ti", "pids": 100_000}},
        "timeout": "300d",
        "gracePeriod": "5m",
        "securityProfile": "baseline",
        "securityContext": {
            "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false, "supplementalGroups": [0],
            "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": true,
            "capabilities": {"add": ["CHOWN"], "drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "network": "default",
        "imagePullPolicy": "Always",
        "registries": [{"server": "example.org", "username": "me"}],
        "runners": ["docker"],
    });
    assert_eq!(SpecPolicy::default().check(&spec(everything)), Ok(()));
}

/// A policy with one change.
fn with(change: impl FnOnce(&mut SpecPolicy)) -> SpecPolicy {
    let mut policy = SpecPolicy::default();
    change(&mut policy);
    policy
}

#[test]
fn each_rule_allows_what_it_names_and_nothing_beside_it() {
    let secret = |source: Value| json!({"secretEnv": {"T": source}});
    let limit = |limit: Value| json!({"resources": {"limits": limit}});
    let image = |image: &str| json!({"container": {"image": image}});
    let images = |globs: &[&str]| {
        with(|p| p.images = Some(globs.iter().map(|glob| glob.parse().unwrap()).collect()))
    };
    let key = |name: &str| json!({"secretKeyRef": {"name": name, "key": "k"}});
    let volume = |path: &str| json!({"volumes": [{"hostPath": path, "mountPath": "/x"}]});
    let docker = Some(vec![RunnerName::docker()]);
    let hosts = Some(vec!["localhost:5000".to_owned()]);
    for (policy, allowed, refused) in [
        (
            images(&["harbor.example.org/a/*"]),
            image("harbor.example.org/a/x:1"),
            image("harbor.example.org/b/x:1"),
        ),
        (images(&["localhost:5000/a/*"]), image("localhost:5000/a/x"), image("localhost:5000/b")),
        (with(|p| p.registries = hosts), image("localhost:5000/x"), image("docker.io/x")),
        (
            with(|p| p.runners = docker),
            json!({"runners": ["docker"]}),
            json!({"runners": ["docker", "kubernetes"]}),
        ),
        (
            with(|p| p.secret_files = vec!["/run/tenant/token".into()]),
            secret(json!({"file": "/run/tenant/token"})),
            secret(json!({"file": "/run/tenant/../tenant/token"})),
        ),
        (
            with(|p| p.secret_files = vec!["/run/tenant/token".into()]),
            login("passwordFile", "/run/tenant/token"),
            login("passwordFile", "/run/tenant/./token"),
        ),
        (
            with(|p| p.secret_variables = vec!["TENANT_A".to_owned()]),
            secret(json!({"env": "TENANT_A"})),
            secret(json!({"env": "TENANT_AB"})),
        ),
        (
            with(|p| p.kubernetes_secrets = vec!["tenant-a".to_owned()]),
            secret(key("tenant-a")),
            secret(key("tenant-b")),
        ),
        (
            with(|p| p.credential_helpers = vec!["tenant".to_owned()]),
            login("credentialHelper", "tenant"),
            login("credentialHelper", "pass"),
        ),
        (
            with(|p| p.labels = vec!["team".to_owned(), "example.org/*".to_owned()]),
            json!({"labels": {"team": "a", "example.org/x": "1"}}),
            json!({"labels": {"team": "a", "teams": "1"}}),
        ),
        (
            with(|p| p.max_cpu = Some("2".parse().unwrap())),
            limit(json!({"cpu": "2"})),
            limit(json!({"cpu": "2001m"})),
        ),
        (
            with(|p| p.max_memory = Some("1Gi".parse().unwrap())),
            limit(json!({"memory": "1Gi"})),
            limit(json!({"cpu": 1})),
        ),
        (
            with(|p| p.max_pids = Some(100)),
            limit(json!({"pids": 100})),
            limit(json!({"pids": 101})),
        ),
        (with(|p| p.max_gpus = 2), limit(json!({"gpus": 2})), limit(json!({"gpus": 3}))),
        (
            with(|p| p.host_paths = vec!["/srv/tenant".into()]),
            volume("/srv/tenant/data"),
            volume("/srv/tenant/../other"),
        ),
        (
            with(|p| p.max_timeout = Some(HumanDuration::from_secs(60))),
            json!({"timeout": "1m"}),
            json!({}),
        ),
        (
            with(|p| p.max_grace_period = Some(HumanDuration::from_secs(1))),
            json!({"gracePeriod": "1s"}),
            json!({}),
        ),
        (
            with(|p| p.security_profile = SecurityProfile::Restricted),
            json!({"securityProfile": "restricted"}),
            json!({}),
        ),
        (
            with(|p| p.security_profile = SecurityProfile::Privileged),
            json!({"securityContext": {"capabilities": {"add": ["ALL"]}}}),
            json!({"process": {"command": ["true"]}}),
        ),
        (with(|p| p.network = false), json!({"network": "none"}), json!({})),
        (
            with(|p| p.pull_policies = vec![PullPolicy::IfNotPresent]),
            json!({"imagePullPolicy": "IfNotPresent"}),
            json!({"imagePullPolicy": "Always"}),
        ),
        (
            with(|p| p.processes = true),
            json!({"process": {"command": ["true"]}}),
            secret(json!({"file": "/etc/shadow"})),
        ),
    ] {
        assert_eq!(policy.check(&spec(allowed)), Ok(()), "{policy:?}");
        policy.check(&spec(refused.clone())).expect_err(&refused.to_string());
    }
}

#[test]
fn a_job_directory_cannot_lead_out_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("jobs");
    let make = |job: &str| {
        for part in ["input", "output"] {
            std::fs::create_dir_all(root.join(job).join(part)).unwrap();
        }
    };
    make("good");
    make("nested/inner");
    make("replaced");
    std::fs::remove_dir(root.join("replaced/output")).unwrap();
    std::os::unix::fs::symlink("/root", root.join("replaced/output")).unwrap();
    std::fs::create_dir_all(folder.path().join("host/input")).unwrap();
    std::fs::create_dir_all(folder.path().join("host/output")).unwrap();
    std::os::unix::fs::symlink(folder.path().join("host"), root.join("link")).unwrap();
    let policy = with(|p| p.job_directories = vec![root.clone()]);
    let check = |path: &str| policy.check(&spec(json!({"jobDirectory": root.join(path)})));
    assert_eq!(check("good"), Ok(()));
    for bad in ["", "nested/inner", "replaced", "link", "missing", "..", "good/../good", "."] {
        let PolicyViolation { rule, field, .. } = check(bad).expect_err(bad);
        assert_eq!((&*rule, field.as_str()), ("jobDirectories", "jobDirectory"), "{bad}");
    }
    // The root itself may be behind a link, which is the service's own.
    std::os::unix::fs::symlink(&root, folder.path().join("alias")).unwrap();
    let policy = with(|p| p.job_directories = vec![folder.path().join("alias")]);
    let aliased = spec(json!({"jobDirectory": folder.path().join("alias/good")}));
    assert_eq!(policy.check(&aliased), Ok(()));
}

#[test]
fn a_policy_is_written_in_a_configuration_and_an_unknown_key_is_refused() {
    let text = json!({"images": ["harbor.example.org/*"], "maxMemory": "1Gi", "processes": false});
    let policy: SpecPolicy = serde_json::from_value(text).unwrap();
    assert_eq!(policy.max_memory, Some("1Gi".parse().unwrap()));
    assert_eq!(policy.pull_policies, [PullPolicy::Always], "what is left out is the default");
    let again: SpecPolicy = serde_json::from_value(json!(policy)).unwrap();
    assert_eq!(again, policy);
    serde_json::from_value::<SpecPolicy>(json!({"image": ["x"]})).unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_refused_spec_is_neither_read_nor_recorded_nor_launched() {
    let world = World::new();
    let journal = Journal::in_memory().unwrap();
    let builder = Dispatcher::builder().journal(journal.clone());
    let runner = world.runner(RunnerName::docker(), Script::default());
    let dispatcher = builder.runner(Arc::new(runner)).build().unwrap();
    // A secret that cannot be read would be another error.
    let mut stranger = spec(json!({}));
    let source = SecretSource::File("/no/such/file".into());
    stranger.secret_env.insert("T".to_owned(), source);
    let submission = Submission::new(stranger).policy(&SpecPolicy::default());
    let error = dispatcher.submit(submission).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    let text = error.to_string();
    assert!(text.contains("`secretFiles`") && text.contains("`secretEnv.T`"), "{text}");
    assert_eq!(journal.list(Filter::default()).await.unwrap(), []);
    assert!(world.ledger().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_job_under_a_policy_runs_only_where_the_policy_allows() {
    let scene = scene([Script::default(), Script::default()]);
    let policy = with(|p| p.runners = Some(vec![name("second")]));
    let submission = Submission::new(spec(json!({}))).policy(&policy);
    let result = scene.dispatcher.submit(submission).await.unwrap().end().await;
    assert_eq!(result.runner, Some(name("second")));
    assert_eq!(result.passed_over, []);
    let nowhere = with(|p| p.runners = Some(vec![name("slurm")]));
    let submission = Submission::new(spec(json!({}))).policy(&nowhere);
    let error = scene.dispatcher.submit(submission).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
}

#[tokio::test(start_paused = true)]
async fn what_the_configuration_sets_counts_as_the_jobs_own() {
    let mut settings = Settings::default();
    settings.timeout = Some(HumanDuration::from_secs(60));
    settings.security_profile = SecurityProfile::Privileged;
    let scene = scene_with(settings, [Script::default()]);
    let submit = async |policy: SpecPolicy, patch: Value| {
        let submission = Submission::new(spec(patch)).policy(&policy);
        scene.dispatcher.submit(submission).await.map(drop).map_err(|error| error.to_string())
    };
    let minute = with(|p| p.max_timeout = Some(HumanDuration::from_secs(60)));
    let own = json!({"securityProfile": "baseline"});
    assert_eq!(submit(minute, own.clone()).await, Ok(()));
    let seconds = with(|p| p.max_timeout = Some(HumanDuration::from_secs(59)));
    assert!(submit(seconds, own).await.unwrap_err().contains("`maxTimeout`"));
    let error = submit(SpecPolicy::default(), json!({})).await.unwrap_err();
    assert!(error.contains("`securityProfile`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_services_logins_are_used_for_a_stranger_only_if_the_policy_says_so() {
    let world = World::new();
    let runner = world.runner(name("first"), Script::default());
    let puller = Puller::new(&runner, &Arc::new(Registry::default()));
    let auth = RegistryAuth::password("harbor.example.org", "me", Secret::new("hunter2"));
    let builder = Dispatcher::builder().runner(Arc::new(Forwarding(puller.clone())));
    let dispatcher = builder.registry_auth("here", auth).build().unwrap();
    let private = json!({"container": {"image": "harbor.example.org/private:1"}});
    let mut logins = BTreeMap::new();
    for (case, policy) in [
        ("none", None),
        ("default", Some(SpecPolicy::default())),
        ("allowed", Some(with(|p| p.service_logins = true))),
    ] {
        let mut submission = Submission::new(spec(private.clone()));
        submission.policy = policy.map(Arc::new);
        dispatcher.submit(submission).await.unwrap().end().await;
        logins.insert(case, puller.asked().pop().unwrap().login);
    }
    let used = Some("harbor.example.org".to_owned());
    assert_eq!(logins, [("none", used.clone()), ("default", None), ("allowed", used)].into());
}

//! Kubeconfigs with what a client cannot use: credential plug-ins that do not do what they should, an
//! authority that is none, and another cluster than that of a job.

#[path = "support/empty_cluster.rs"]
mod empty_cluster;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use empty_cluster::EmptyCluster;
use futures::StreamExt;
use longshore_core::{
    AttachSpec, Attempt, Error, ErrorKind, ExecSpec, HumanDuration, InstallationId, JobId, JobSpec,
    LaunchContext, LaunchError, LogPosition, Runner, RunnerName,
};
use longshore_kubernetes::{KubernetesConfig, KubernetesRunner};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Returns the error of a probe whose kubeconfig has `user`. Nothing is at its server's address.
async fn refused(folder: &tempfile::TempDir, user: Value) -> Error {
    refused_with(folder, json!({"server": "http://127.0.0.1:1"}), user).await
}

/// Returns the error of a probe whose kubeconfig has `cluster` and `user`.
async fn refused_with(folder: &tempfile::TempDir, cluster: Value, user: Value) -> Error {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    });
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).expect("the file can be written");
    let mut config = KubernetesConfig::default();
    config.kubeconfig = Some(path);
    config.connect_timeout = HumanDuration::from_secs(2);
    let runner = KubernetesRunner::new(RunnerName::kubernetes(), config);
    runner.probe().await.expect_err("nothing is there")
}

fn plugin(script: &str) -> Value {
    json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "interactiveMode": "Never",
        "command": "sh",
        "args": ["-c", script],
        "env": [{"name": "PASSWORD", "value": "hunter2"}],
    }})
}

/// What a failed plug-in had printed, its arguments and its environment were part of the message.
#[tokio::test]
async fn a_plug_in_that_fails_is_named_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let token = r#"{\"status\": {\"token\": \"hunter3\"}}"#;
    for (script, words) in [
        (
            format!("echo \"{token}\"; echo log in first >&2; exit 3"),
            "exit status: 3): log in first",
        ),
        ("echo hunter3: {".to_owned(), "its answer is not an ExecCredential"),
        ("echo '{}'".to_owned(), "its answer is not an ExecCredential"),
        (r#"echo '{"status": {}, "hunter3": 1}'"#.to_owned(), "has neither a token"),
        (r#"printf '{"status": {"token": "hunter3 \\n"}}'"#.to_owned(), "the token in its answer"),
    ] {
        let error = refused(&folder, plugin(&script)).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let said = format!("{error} {error:?}");
        assert!(said.contains(words) && said.contains("(plugin: sh)"), "{script}: {said}");
        assert!(!said.contains("hunter"), "{script}: {said}");
    }
}

/// The parser quoted the lines around the fault.
#[tokio::test]
async fn a_kubeconfig_with_a_fault_was_quoted_with_its_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let mut config = KubernetesConfig::default();
    config.kubeconfig = Some(path.clone());
    let runner = KubernetesRunner::new(RunnerName::kubernetes(), config);
    for (text, place) in [
        ("users:\n- name: a\n  user:\n    token: hunter2\n    bad: [\n", "line 5, column 10"),
        ("users:\n- name: a\n  user:\n    token: [hunter2]\n", "line 4, column 12"),
        ("users: hunter2\n", "line 1, column 8"),
        ("{\"users\": [{\"name\": \"a\", \"user\": {\"token\": \"hunter2\", ]}", "line 1, column "),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = runner.probe().await.unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(!said.contains("hunter"), "{said}");
        let path = path.display();
        let expected = format!(
            "failed to read the kubeconfig (kubeconfig: {path}): the file is not a kubeconfig ({place}"
        );
        assert!(said.contains(&expected), "{said}");
    }
}

/// As in client-go, the folder is the one of the kubeconfig and not the working directory.
#[tokio::test]
async fn a_relative_plug_in_is_found_beside_its_kubeconfig() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("login.sh");
    std::fs::write(&path, "#!/bin/sh\necho log in first >&2\nexit 3\n").unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    let mut user = plugin("");
    user["exec"]["command"] = json!("./login.sh");
    let said = refused(&folder, user).await.to_string();
    assert!(said.contains("exit status: 3): log in first"), "{said}");
}

#[tokio::test]
async fn a_plug_in_that_does_not_exist_is_named_with_its_hint() {
    let folder = tempfile::tempdir().unwrap();
    let user = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "no-such-plugin",
        "installHint": "install it\nfrom example.org",
    }});
    let said = refused(&folder, user).await.to_string();
    assert!(said.contains("no-such-plugin"), "{said}");
    assert!(said.ends_with("install it from example.org"), "{said}");
}

/// The plug-in went on for ever, and kept our standard error open.
#[tokio::test]
async fn a_plug_in_that_hangs_is_named_and_ended_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let script = format!("sleep 1000 & echo $$ $! > {}; wait", pids.display());
    let begun = Instant::now();
    let said = refused(&folder, plugin(&script)).await.to_string();
    assert!(said.contains("sh") && said.contains("did not answer within 1s 800ms"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let pids = std::fs::read_to_string(pids).unwrap();
    for pid in pids.split_whitespace() {
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        assert!(ends(pid).unwrap(), "{pid:?} still runs");
    }
}

/// Waits for process `pid` to end. The signal that ends it does not wait for its death.
fn ends(pid: Pid) -> rustix::io::Result<bool> {
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(true),
        opened => opened?,
    };
    let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
    Ok(poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit))? == 1)
}

/// Everything that a plug-in prints was kept, hundreds of megabytes a second.
#[tokio::test]
async fn an_endless_answer_of_a_plug_in_is_given_up_at_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    for script in ["yes", "yes >&2"] {
        let said = refused(&folder, plugin(script)).await.to_string();
        let words = ["its answer is larger than 256 KiB", "failed (signal: 13", "did not answer"];
        assert!(words.iter().any(|words| said.contains(words)), "{script}: {said}");
        assert!(said.len() < 1024, "{script}: {} bytes", said.len());
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 128 << 10, "{peak} kB");
}

#[tokio::test]
async fn an_auth_provider_with_a_command_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({"cmd-path": "sh", "cmd-args": "-c exit"});
    let user = json!({"auth-provider": {"name": "gcp", "config": config}});
    let said = refused(&folder, user).await.to_string();
    assert!(said.contains("auth-provider") && said.contains("gke-gcloud-auth-plugin"), "{said}");
}

/// Such an authority trusts nobody. The error was that the server's certificate has an unknown issuer.
#[tokio::test]
async fn an_authority_without_a_certificate_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    let text = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    std::fs::write(&key, text).unwrap();
    let server = "https://127.0.0.1:1";
    let none = "has no certificate in PEM";
    for (cluster, words) in [
        (json!({"server": server, "certificate-authority": &key}), [none, "(file: "]),
        (
            // "rubbish"
            json!({"server": server, "certificate-authority-data": "cnViYmlzaA=="}),
            [none, "(setting: certificate-authority-data"],
        ),
        (
            json!({"server": server, "certificate-authority": "/no/such/ca.pem"}),
            ["failed to load certificate authority", "/no/such/ca.pem"],
        ),
        // As in client-go, an empty setting is none.
        (json!({"server": server, "certificate-authority-data": ""}), ["Connection refused", ""]),
    ] {
        let error = refused_with(&folder, cluster.clone(), json!({})).await;
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let said = error.to_string();
        assert!(words.iter().all(|words| said.contains(words)), "{cluster}: {said}");
        assert!(!said.contains("c2VjcmV0"), "{said}");
    }
}

/// Writes a kubeconfig with the contexts `home` and `away` to `path`; `current` is the current one.
fn use_context(path: &Path, away: &EmptyCluster, current: &str) {
    let context = |name: &str| json!({"name": name, "context": {"cluster": name, "user": "u"}});
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": current,
        "contexts": [context("home"), context("away")],
        "clusters": [
            {"name": "home", "cluster": {"server": "https://127.0.0.1:1"}},
            {"name": "away", "cluster": {"server": format!("http://{}", away.address)}},
        ],
        "users": [{"name": "u", "user": {}}],
    });
    std::fs::write(path, kubeconfig.to_string()).expect("the file can be written");
}

/// Another cluster has no Job of the attempt's name, and takes a Job that reserves the name. The
/// attempt counted as never started, so that the next runner started the job a second time.
#[tokio::test]
async fn another_clusters_answers_were_proof_that_a_job_had_not_started() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let away = EmptyCluster::start().await.unwrap();
    let mut config = KubernetesConfig::default();
    config.kubeconfig = Some(path.clone());
    let runner = || KubernetesRunner::new(RunnerName::kubernetes(), config.clone());
    use_context(&path, &away, "home");
    let first = runner();
    let spec = JobSpec::container("x".parse().unwrap());
    let mut attempt = Attempt::new(InstallationId::random(), JobId::random(), 1, spec);
    attempt.target = first.target().await;
    let handle = first.handle(&attempt);
    let soon = || Instant::now() + Duration::from_secs(60);
    use_context(&path, &away, "away");
    // The same process, and another one.
    for runner in [first, runner()] {
        let mut logs = runner.logs(&handle, LogPosition::START, false);
        let mut errors = vec![
            runner.reach(&handle).await.unwrap_err(),
            runner.settle(&handle, soon()).await.unwrap_err(),
            runner.remove(&handle).await.unwrap_err(),
            runner.cancel(&handle, Duration::ZERO).await.unwrap_err(),
            runner.exec(&handle, &ExecSpec::new(["true"])).await.unwrap_err(),
            runner.attach(&handle, &AttachSpec::default()).await.unwrap_err(),
            runner.stdin(&handle).await.err().unwrap(),
            runner.events(&handle).next().await.unwrap().unwrap_err(),
            logs.next().await.unwrap().unwrap_err(),
        ];
        match runner.launch(&attempt, &LaunchContext::new(soon())).await {
            Err(LaunchError::Refused(error)) => errors.push(error),
            other => panic!("{other:?}"),
        }
        for error in errors {
            let said = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{said}");
            let away = format!("`away` at http://{}", away.address);
            for words in ["another cluster", "`home` at https://127.0.0.1:1", &away] {
                assert!(said.contains(words), "{said}");
            }
        }
    }
    assert_eq!(away.requests(), Vec::<String>::new(), "another cluster is not asked");
    use_context(&path, &away, "home");
    runner().reach(&handle).await.unwrap();
    let said = runner().settle(&handle, soon()).await.unwrap_err().to_string();
    assert!(said.contains("Connection refused"), "{said}");
}

/// The kubeconfig is read again once a credential expires or a watch fails. Then a job was followed in
/// whichever cluster another terminal had chosen meanwhile.
#[tokio::test]
async fn a_process_went_to_another_cluster_with_kubectl_config_use_context() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let (home, away) = (EmptyCluster::start().await.unwrap(), EmptyCluster::start().await.unwrap());
    let write = |contexts: &[(&str, &EmptyCluster)], current: &str| {
        let named = |(name, cluster): &(&str, &EmptyCluster)| json!({"name": name, "cluster": {"server": format!("http://{}", cluster.address)}});
        let context =
            |it: &(&str, _)| json!({"name": it.0, "context": {"cluster": it.0, "user": "u"}});
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": current,
            "contexts": contexts.iter().map(context).collect::<Vec<_>>(),
            "clusters": contexts.iter().map(named).collect::<Vec<_>>(),
            "users": [{"name": "u", "user": {}}],
        });
        std::fs::write(&path, kubeconfig.to_string()).expect("the file can be written");
    };
    let both = [("home", &home), ("away", &away)];
    write(&both, "home");
    let mut config = KubernetesConfig::default();
    config.kubeconfig = Some(path.clone());
    let runner = KubernetesRunner::new(RunnerName::kubernetes(), config);
    let installation = InstallationId::random();
    runner.adopt(&installation).await.unwrap();
    write(&both, "away");
    // A probe that fails makes the next request read the kubeconfig.
    runner.probe().await.unwrap_err();
    let target = runner.target().await.unwrap();
    assert_eq!(target["cluster"]["context"], "home", "{target}");
    let asked = home.requests().len();
    runner.adopt(&installation).await.unwrap();
    assert!(home.requests().len() > asked);
    assert_eq!(away.requests(), Vec::<String>::new());
    // A context that is gone cannot be meant.
    write(&both[1..], "away");
    runner.probe().await.unwrap_err();
    assert_eq!(runner.target().await.unwrap()["cluster"]["context"], "away");
}

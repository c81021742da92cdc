//! An API server that only a proxy reaches.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use longshore_core::{ErrorKind, HumanDuration, Runner, RunnerName};
use longshore_kubernetes::KubernetesRunner;
use serde_json::json;
use tokio::time::Instant;

use crate::connect_proxy::{ConnectProxy, Manner};
use crate::{Body, Case, Checked, api_server, check, end, kubeconfig, launch, output};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![
        ("a_cluster_that_only_a_proxy_reaches_runs_a_job", |c| {
            a_cluster_that_only_a_proxy_reaches_runs_a_job(c).boxed()
        }),
        ("a_proxy_that_opens_no_tunnel_is_named", |c| {
            a_proxy_that_opens_no_tunnel_is_named(c).boxed()
        }),
    ]
}

/// Returns a runner that uses the proxy `url` for a server whose name nobody can look up.
fn through(case: &Case, url: &str) -> Checked<(KubernetesRunner, tempfile::NamedTempFile)> {
    let file = kubeconfig(|c| {
        let cluster = &mut c["clusters"][0]["cluster"];
        cluster["server"] = json!("https://api.cluster.invalid:6443");
        cluster["tls-server-name"] = json!("127.0.0.1");
        cluster["proxy-url"] = json!(url);
    })?;
    let mut config = case.lab.config();
    config.kubeconfig = Some(file.path().to_owned());
    config.connect_timeout = HumanDuration::from_secs(2);
    Ok((KubernetesRunner::new(RunnerName::kubernetes(), config), file))
}

async fn a_cluster_that_only_a_proxy_reaches_runs_a_job(case: Arc<Case>) -> Checked {
    for (manner, login) in [(Manner::Open, ""), (Manner::Login, "me:hunter2@")] {
        let proxy = ConnectProxy::to(api_server().await?, manner).await?;
        let (runner, _file) = through(&case, &format!("http://{login}{}", proxy.address))?;
        let health = runner.probe().await?;
        let shown = health.facts.contains(&("proxy".into(), proxy.address.clone()));
        check(shown, || format!("{:?}", health.facts))?;
        let started = launch(&runner, &case.script("echo through")).await?;
        let report = end(&runner, &started.handle).await?;
        check(report.outcome.is_success(), || format!("{:?}", report.outcome))?;
        check(output(&runner, &started.handle).await? == b"through\n", || "output".to_owned())?;
        runner.remove(&started.handle).await?;
        check(proxy.tunnels() > 0, || "no tunnel".to_owned())?;
    }
    Ok(())
}

async fn a_proxy_that_opens_no_tunnel_is_named(case: Arc<Case>) -> Checked {
    for (manner, login, words) in [
        (Manner::Login, "", "authorization required"),
        (Manner::Login, "me:wrong1@", "authorization required"),
        (Manner::Refusing, "", "tunnel"),
        (Manner::Redirecting, "", "tunnel"),
        (Manner::Looping, "", "tunnel"),
        (Manner::Silent, "", "no answer within"),
        (Manner::Endless, "", "headers too long"),
    ] {
        let proxy = ConnectProxy::to(api_server().await?, manner).await?;
        let (runner, _file) = through(&case, &format!("http://{login}{}", proxy.address))?;
        let begun = Instant::now();
        let Err(error) = runner.probe().await else {
            return Err(format!("{manner:?}: healthy").into());
        };
        check(error.kind() == ErrorKind::Unavailable, || format!("{manner:?}: {error:?}"))?;
        let said = error.to_string();
        check(said.contains(words), || format!("{manner:?}: {said}"))?;
        check(said.contains(&proxy.address), || format!("{manner:?}: {said}"))?;
        check(!said.contains("wrong1"), || said)?;
        check(begun.elapsed() < Duration::from_secs(4), || format!("{:?}", begun.elapsed()))?;
    }
    Ok(())
}

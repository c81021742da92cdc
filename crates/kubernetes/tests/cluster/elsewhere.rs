//! A kubeconfig that is switched to another cluster or namespace, as by `kubectl config use-context`.

use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use longshore_core::{Error, Runner, RunnerName};
use longshore_kubernetes::KubernetesRunner;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::empty_cluster::EmptyCluster;
use crate::faults::{SEVEN, is};
use crate::proxy::Proxy;
use crate::token::told;
use crate::{Body, Case, Checked, PATIENCE, api_server, check, end, kubeconfig, launch, output};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![
        ("a_job_was_lost_once_the_kubeconfig_named_another_cluster", |c| {
            a_job_was_lost_once_the_kubeconfig_named_another_cluster(c).boxed()
        }),
        ("a_job_was_looked_for_in_another_namespace_than_its_own", |c| {
            a_job_was_looked_for_in_another_namespace_than_its_own(c).boxed()
        }),
    ]
}

/// Writes the lab's kubeconfig, changed, to `path`.
fn rewrite(path: &Path, change: impl FnOnce(&mut Value)) -> Checked {
    std::fs::copy(kubeconfig(change)?.path(), path)?;
    Ok(())
}

/// Returns a runner with the kubeconfig at `path`, in the namespace of its context.
fn runner(case: &Case, path: &Path) -> KubernetesRunner {
    let mut config = case.lab.config();
    config.kubeconfig = Some(path.to_owned());
    config.namespace = None;
    KubernetesRunner::new(RunnerName::kubernetes(), config)
}

async fn a_job_was_lost_once_the_kubeconfig_named_another_cluster(case: Arc<Case>) -> Checked {
    let (proxy, away) = (Proxy::to(api_server().await?).await?, EmptyCluster::start().await?);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kubeconfig");
    let home = |c: &mut Value| {
        c["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", proxy.address));
        c["contexts"][0]["context"]["namespace"] = json!(case.lab.namespace);
    };
    let elsewhere = |c: &mut Value| {
        c["clusters"][0]["cluster"] = json!({"server": format!("http://{}", away.address)});
        c["users"][0]["user"] = json!({});
    };
    rewrite(&path, home)?;
    let runner = runner(&case, &path);
    let script = "echo begun; until [ -e /job/output/go ]; do sleep 0.1; done; echo over; exit 7";
    let (mut attempt, directory) = case.with_directory(script)?;
    attempt.target = runner.target().await;
    let started = launch(&runner, &attempt).await?;
    let (sender, mut troubles) = mpsc::channel::<Error>(100);
    let switching = async {
        rewrite(&path, elsewhere)?;
        proxy.cut();
        let refused = async {
            while let Some(error) = troubles.recv().await {
                if error.to_string().contains("another cluster") {
                    return true;
                }
            }
            false
        };
        check(timeout(PATIENCE, refused).await?, || "nobody said so".to_owned())?;
        std::fs::write(directory.path().join("output/go"), "")?;
        proxy.mend();
        rewrite(&path, home)
    };
    let handle = &started.handle;
    let (report, output, switched) =
        tokio::join!(told(&runner, handle, sender), output(&runner, handle), switching);
    switched?;
    is(&report?, &SEVEN)?;
    check(output? == b"begun\nover\n", || "other output".to_owned())?;
    check(away.requests().is_empty(), || format!("{:?}", away.requests()))
}

async fn a_job_was_looked_for_in_another_namespace_than_its_own(case: Arc<Case>) -> Checked {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("kubeconfig");
    let within = |namespace: &str| {
        let namespace = namespace.to_owned();
        rewrite(&path, |c| c["contexts"][0]["context"]["namespace"] = json!(namespace))
    };
    within(&case.lab.namespace)?;
    let first = runner(&case, &path);
    let mut attempt = case.script("echo here; exit 7");
    attempt.target = first.target().await;
    let handle = launch(&first, &attempt).await?.handle;
    check(handle == first.handle(&attempt), || format!("{handle:?}"))?;
    let found = first.adopt(&case.installation).await?;
    check(found == [handle.clone()], || format!("{found:?}"))?;
    within("no-such-namespace")?;
    let second = runner(&case, &path);
    is(&end(&second, &handle).await?, &SEVEN)?;
    check(output(&second, &handle).await? == b"here\n", || "other output".to_owned())?;
    Ok(second.remove(&handle).await?)
}

//! A token that becomes invalid while a job runs, and its successor.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use longshore_core::{Error, ErrorKind, Event, Outcome, Report, Runner, RunnerName};
use longshore_kubernetes::KubernetesRunner;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::proxy::Proxy;
use crate::{Body, Case, Checked, PATIENCE, api_server, check, kubeconfig, launch, object};
use crate::{output, support::Lab};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![("a_revoked_token_ends_no_job_and_its_successor_is_taken_up", |c| {
        a_revoked_token_ends_no_job_and_its_successor_is_taken_up(c).boxed()
    })]
}

/// A service account that may run jobs. Each of its tokens is bound to a Secret, and is valid while
/// that Secret exists.
struct Account {
    lab: Lab,
    name: String,
}

impl Account {
    async fn create(name: String) -> Checked<Self> {
        let lab = Lab::find().await?;
        let rules = json!([
            {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["pods", "pods/log", "events"], "verbs": ["*"]},
        ]);
        let account = Self { lab, name };
        let (name, namespace) = (&account.name, &account.lab.namespace);
        account.make::<ServiceAccount>(json!({"metadata": {"name": name}})).await?;
        account.make::<Role>(json!({"metadata": {"name": name}, "rules": rules})).await?;
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        });
        account.make::<RoleBinding>(binding).await?;
        Ok(account)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.lab.client.clone(), &self.lab.namespace)
    }

    async fn make<K>(&self, value: Value) -> Checked<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        Ok(self.api::<K>().create(&PostParams::default(), &object(value)?).await?)
    }

    fn secret(&self, number: u32) -> String {
        format!("{}-{number}", self.name)
    }

    async fn token(&self, number: u32) -> Checked<String> {
        let name = self.secret(number);
        let secret = self.make::<Secret>(json!({"metadata": {"name": name}})).await?;
        let request = json!({"spec": {"audiences": [], "boundObjectRef": {
            "apiVersion": "v1", "kind": "Secret", "name": name, "uid": secret.metadata.uid,
        }}});
        let accounts = self.api::<ServiceAccount>();
        let made = accounts
            .create_token_request(&self.name, &PostParams::default(), &object(request)?)
            .await?;
        Ok(made.status.ok_or("no token")?.token)
    }

    async fn revoke(&self, number: u32) -> Checked {
        self.api::<Secret>().delete(&self.secret(number), &DeleteParams::default()).await?;
        Ok(())
    }

    async fn delete(self) -> Checked {
        let gone = DeleteParams::default();
        self.api::<RoleBinding>().delete(&self.name, &gone).await?;
        self.api::<Role>().delete(&self.name, &gone).await?;
        self.api::<ServiceAccount>().delete(&self.name, &gone).await?;
        Ok(())
    }
}

/// Returns a runner at `address` that uses the token in the file `token`.
fn with_token(
    lab: &Lab,
    address: &str,
    token: &std::path::Path,
) -> Checked<(KubernetesRunner, tempfile::NamedTempFile)> {
    let file = kubeconfig(|c| {
        c["clusters"][0]["cluster"]["server"] = json!(format!("https://{address}"));
        c["users"][0]["user"] = json!({"tokenFile": token});
    })?;
    let mut config = lab.config();
    config.kubeconfig = Some(file.path().to_owned());
    Ok((KubernetesRunner::new(RunnerName::kubernetes(), config), file))
}

/// Waits until the API server refuses `runner`. The API server caches a token for some seconds.
async fn until_refused(runner: &KubernetesRunner) -> Checked {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match runner.probe().await {
            Err(error) if error.kind() == ErrorKind::Denied => return Ok(()),
            answer => check(Instant::now() < deadline, || format!("{answer:?}"))?,
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Follows the events, sends each error to `troubles` at once, and returns the end.
pub(crate) async fn told(
    runner: &KubernetesRunner,
    handle: &longshore_core::Handle,
    troubles: mpsc::Sender<Error>,
) -> Checked<Report> {
    let mut events = runner.events(handle);
    let ended = async {
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Ended(report)) => return Ok(report),
                Ok(_) => {}
                Err(error) => drop(troubles.try_send(error)),
            }
        }
        Err("the events ended without an end".into())
    };
    timeout(PATIENCE, ended).await?
}

async fn a_revoked_token_ends_no_job_and_its_successor_is_taken_up(case: Arc<Case>) -> Checked {
    let account = Account::create(format!("longshore-{}", case.installation)).await?;
    let result = rotated(&case, &account).await;
    for number in [1, 2] {
        // If all went well, the first one has been revoked already.
        let _ = account.revoke(number).await;
    }
    account.delete().await?;
    result
}

async fn rotated(case: &Case, account: &Account) -> Checked {
    let (_, root) = case.lab.claim.clone().ok_or("set LONGSHORE_LAB_CLAIM and _VOLUME")?;
    let folder = tempfile::Builder::new().prefix("token-").tempdir_in(root)?;
    for name in ["input", "output"] {
        std::fs::create_dir_all(folder.path().join(name))?;
    }
    let token = tempfile::NamedTempFile::new()?;
    std::fs::write(token.path(), account.token(1).await?)?;
    let proxy = Proxy::to(api_server().await?).await?;
    let (runner, _file) = with_token(&case.lab, &proxy.address, token.path())?;
    let (stranger, _other) = with_token(&case.lab, &api_server().await?, token.path())?;
    let script = "echo begun; until [ -e /job/output/go ]; do sleep 0.1; done; echo over; exit 7";
    let mut spec = case.lab.job(script);
    spec.job_directory = Some(folder.path().to_owned());
    let started = launch(&runner, &case.attempt(spec)).await?;
    let (sender, mut troubles) = mpsc::channel::<Error>(100);
    let rotation = async {
        account.revoke(1).await?;
        until_refused(&stranger).await?;
        // The watches and the log must reconnect, with the old token.
        proxy.cut();
        proxy.mend();
        let refused = async {
            while let Some(error) = troubles.recv().await {
                if error.to_string().contains("Unauthorized") {
                    return true;
                }
            }
            false
        };
        check(timeout(PATIENCE, refused).await?, || "the refusal was not reported".to_owned())?;
        std::fs::write(folder.path().join("output/go"), "")?;
        sleep(Duration::from_secs(2)).await;
        std::fs::write(token.path(), account.token(2).await?)?;
        Checked::Ok(Instant::now())
    };
    let ended = async {
        let report = told(&runner, &started.handle, sender).await;
        report.map(|report| (report, Instant::now()))
    };
    let (ended, output, renewed) = tokio::join!(ended, output(&runner, &started.handle), rotation);
    let ((report, at), renewed) = (ended?, renewed?);
    check(report.outcome == Outcome::Exited { code: 7, signal: None }, || format!("{report:?}"))?;
    check(output? == b"begun\nover\n", || "other output".to_owned())?;
    let after = at.duration_since(renewed);
    writeln!(
        std::io::stdout(),
        "kubernetes: a token that is renewed: the end known after {after:.1?}"
    )?;
    check(after < Duration::from_secs(15), || format!("taken up only after {after:?}"))
}

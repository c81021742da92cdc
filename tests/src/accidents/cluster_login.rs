//! What happens to the login of a command while its job runs: its role, its token, its kubeconfig.

use std::fs;
use std::path::{Path, PathBuf};
use std::slice::from_ref;

use anyhow::{bail, ensure};
use serde_json::{Value, json};

use super::cluster::{create, kubectl};
use super::connection::{redirect, wire};
use super::situation::{CLUSTER, Expected, Situation, exits, lost, on};
use super::stage::{Stage, WAITS};
use super::wire::{Address, Fault, Wire};
use crate::cases::changed;
use crate::check::{Checked, until};
use crate::running::{PATIENCE, Ran, Running};

const NO_ROLE: Expected = lost(&["forbidden"]).within(200);
const NO_TOKEN: Expected = lost(&["Unauthorized"]).within(120);

pub(super) const SITUATIONS: &[Situation] = &[
    on(CLUSTER, "the role is taken away for good", role_taken, NO_ROLE),
    on(CLUSTER, "the role is taken away and given back", role_returns, exits(5)),
    on(CLUSTER, "its token is revoked for good", token_revoked, NO_TOKEN),
    on(CLUSTER, "its ServiceAccount is deleted", account_deleted, NO_TOKEN),
    on(CLUSTER, "its token is revoked and restored", token_returns, exits(5)),
    on(CLUSTER, "its token is revoked and replaced", token_replaced, exits(5)),
    on(CLUSTER, "the kubeconfig is removed while it runs", config_removed, exits(5)),
    on(CLUSTER, "the kubeconfig is rewritten while it runs", config_rewritten, exits(5)),
];

/// Creates an account that may run jobs. Returns its name and its RoleBinding.
fn account(stage: &mut Stage) -> Checked<(String, Value)> {
    let name = format!("accident-{}", stage.mark);
    let meta = json!({"name": name});
    let rules = json!([
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["pods", "pods/log", "events"], "verbs": ["*"]},
    ]);
    let group = "rbac.authorization.k8s.io";
    let version = format!("{group}/v1");
    let binding = json!({
        "apiVersion": version, "kind": "RoleBinding", "metadata": meta,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{
            "kind": "ServiceAccount", "name": name, "namespace": stage.bench.lab.namespace,
        }],
    });
    create(
        stage,
        &[
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}),
            json!({"apiVersion": version, "kind": "Role", "metadata": meta, "rules": rules}),
            binding.clone(),
        ],
    )?;
    Ok((name, binding))
}

/// Starts a job whose command has an account of its own, and takes its role away.
fn with_role(stage: &mut Stage) -> Checked<(Running, Value)> {
    let (name, binding) = account(stage)?;
    let token = kubectl(stage, &["create", "token", &name])?.trim().to_owned();
    let file = changed(&stage.bench, |_, user| *user = json!({"token": token}))?;
    let command = stage.command(&[], WAITS)?.env("KUBECONFIG", file);
    let running = stage.started(command.env("JOB_LOSTAFTER", "6s"))?;
    kubectl(stage, &["delete", "rolebinding", &name])?;
    Ok((running, binding))
}

fn role_taken(stage: &mut Stage) -> Checked<Ran> {
    let (running, _) = with_role(stage)?;
    stage.finish(running)
}

fn role_returns(stage: &mut Stage) -> Checked<Ran> {
    let (running, binding) = with_role(stage)?;
    create(stage, &[binding])?;
    stage.let_go(running)
}

/// A job whose command has a token of its own.
struct LoggedIn {
    running: Running,
    account: String,
    secret: Value,
    token: String,
    wire: Wire,
    kubeconfig: PathBuf,
}

impl LoggedIn {
    /// Starts the job. Its command is lost `lost_after` its last report.
    fn new(stage: &mut Stage, lost_after: &str) -> Checked<Self> {
        let (account, _) = account(stage)?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {
                "name": account,
                "annotations": {"kubernetes.io/service-account.name": account},
            },
        });
        create(stage, from_ref(&secret))?;
        let token = token(stage, &account)?;
        let wire = wire(stage, Fault::None)?;
        let kubeconfig = write(stage, &wire, &token)?;
        let command = stage.command(&[], WAITS)?.env("KUBECONFIG", &kubeconfig);
        let running = stage.started(command.env("JOB_LOSTAFTER", lost_after))?;
        Ok(Self { running, account, secret, token, wire, kubeconfig })
    }

    /// Deletes an object, waits until the token is refused, and makes the command log in again.
    fn revoke(&self, stage: &Stage, kind: &str) -> Checked {
        kubectl(stage, &["delete", kind, &self.account])?;
        // The API server remembers a login for ten seconds.
        until(PATIENCE, "the token to be refused", || {
            let asked = kubectl(stage, &["--token", &self.token, "auth", "whoami"]);
            Ok(asked.is_err().then_some(()))
        })?;
        self.wire.reset();
        Ok(())
    }
}

/// Returns the token in a Secret.
fn token(stage: &Stage, secret: &str) -> Checked<String> {
    let secret = format!("secret/{secret}");
    let wait = ["wait", "--timeout=60s", "--for=jsonpath={.data.token}"];
    kubectl(stage, &[&wait[..], &[&secret]].concat())?;
    let template = "--output=go-template={{.data.token | base64decode}}";
    kubectl(stage, &["get", &secret, template])
}

/// Writes the command's kubeconfig.
fn write(stage: &Stage, wire: &Wire, token: &str) -> Checked<PathBuf> {
    let Address::Tcp(address) = wire.address else { bail!("the wire has no port") };
    let file = changed(&stage.bench, |cluster, user| {
        redirect(cluster, address);
        *user = json!({"token": token});
    })?;
    Ok(file.into())
}

fn token_revoked(stage: &mut Stage) -> Checked<Ran> {
    let job = LoggedIn::new(stage, "6s")?;
    job.revoke(stage, "secret")?;
    stage.finish(job.running)
}

fn account_deleted(stage: &mut Stage) -> Checked<Ran> {
    let job = LoggedIn::new(stage, "6s")?;
    job.revoke(stage, "serviceaccount")?;
    stage.finish(job.running)
}

/// A Secret of the same name has the same token.
fn token_returns(stage: &mut Stage) -> Checked<Ran> {
    let job = LoggedIn::new(stage, "60s")?;
    job.revoke(stage, "secret")?;
    stage.directory.input("go", "")?;
    create(stage, from_ref(&job.secret))?;
    let again = token(stage, &job.account)?;
    ensure!(again == job.token, "the Secret has another token");
    stage.finish(job.running)
}

/// The command reads the new token from its kubeconfig.
fn token_replaced(stage: &mut Stage) -> Checked<Ran> {
    let job = LoggedIn::new(stage, "60s")?;
    job.revoke(stage, "secret")?;
    let token = kubectl(stage, &["create", "token", &job.account])?;
    let written = write(stage, &job.wire, token.trim())?;
    ensure!(written == job.kubeconfig, "it is another file");
    stage.let_go(job.running)
}

/// Lets `accident` happen to the command's kubeconfig while its job runs.
fn config(stage: &mut Stage, accident: impl FnOnce(&Path) -> std::io::Result<()>) -> Checked<Ran> {
    let file = changed(&stage.bench, |_, _| {})?;
    let command = stage.command(&[], WAITS)?.env("KUBECONFIG", &file);
    let running = stage.started(command)?;
    accident(Path::new(&file))?;
    stage.let_go(running)
}

fn config_removed(stage: &mut Stage) -> Checked<Ran> {
    config(stage, |file| fs::remove_file(file))
}

fn config_rewritten(stage: &mut Stage) -> Checked<Ran> {
    config(stage, |file| fs::write(file, ": : :\n"))
}

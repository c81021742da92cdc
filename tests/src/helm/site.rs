//! A case's own namespace, with helm and kubectl for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Values;
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::until;
use crate::programs;
use crate::running::Ran;

/// The name of the release, and so of its objects.
const RELEASE: &str = "longshore";
/// How long a Pod may take to appear, to run a job of some seconds and to be removed, on a busy
/// machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// The selector for what a command has launched.
const LAUNCHED: &str = "longshore.dev/installation";
/// The selector for the Pods of the command.
const COMMAND: &str = "app.kubernetes.io/component=command";

/// A case's own namespace. It is removed when this value is dropped.
pub(crate) struct Site<'a> {
    bench: &'a Bench,
    pub(crate) namespace: String,
    closed: bool,
}

impl<'a> Site<'a> {
    pub(crate) fn new(bench: &'a Bench) -> Result<Self> {
        let own = bench.folders.root().file_name().unwrap_or_default().to_string_lossy();
        let own: String = own.chars().filter(char::is_ascii_alphanumeric).collect();
        let namespace = format!("helm-{}", own.to_lowercase());
        let site = Self { bench, namespace, closed: false };
        site.kubectl(&["create", "namespace", &site.namespace])?;
        Ok(site)
    }

    /// Runs `helm ARGS` in the namespace.
    pub(crate) fn helm(&self, args: &[&str]) -> Result<Ran> {
        let helm = self.bench.lab.helm.as_deref().context("no helm")?;
        let command = self.bench.program(helm)?.args(args);
        let command = command.args(["--namespace", &self.namespace]);
        self.bench.reaching(command, Backend::Kubernetes).spawn()?.finish_within(PATIENCE)
    }

    /// Runs `kubectl ARGS` in the namespace, which must succeed, and returns its output.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Result<String> {
        let ran = self.try_kubectl(args)?;
        ensure!(ran.code() == Some(0), "kubectl {args:?}: {}", ran.stderr);
        Ok(ran.text())
    }

    /// Runs `kubectl ARGS` in the namespace.
    pub(crate) fn try_kubectl(&self, args: &[&str]) -> Result<Ran> {
        let kubectl = self.bench.lab.kubectl.as_deref().context("no kubectl")?;
        let command = self.bench.program(kubectl)?.args(args);
        let command = command.args(["--namespace", &self.namespace]);
        self.bench.reaching(command, Backend::Kubernetes).spawn()?.finish_within(PATIENCE)
    }

    /// Runs `helm template` with `values`, and returns the objects.
    pub(crate) fn rendered(&self, values: &Values, only: &[&str]) -> Result<Vec<Value>> {
        let (chart, values) = (chart(), self.file("values.json", &values.text())?);
        let mut args = vec!["template", RELEASE, &chart, "--values", &values];
        args.extend(only.iter().flat_map(|file| ["--show-only", file]));
        let ran = self.helm(&args)?;
        ran.exits(0)?;
        let file = self.file("rendered.yaml", &ran.text())?;
        let text =
            self.kubectl(&["create", "--dry-run=client", "--output=json", "--filename", &file])?;
        let objects = serde_json::Deserializer::from_str(&text).into_iter();
        let objects: Vec<Value> = objects.collect::<std::result::Result<_, _>>()?;
        ensure!(!objects.is_empty(), "the chart rendered nothing");
        Ok(objects)
    }

    /// Runs `helm VERB` with `values`.
    fn release(&self, verb: &str, values: &Values) -> Result<()> {
        let values = self.file("values.json", &values.text())?;
        self.helm(&[verb, RELEASE, &chart(), "--values", &values])?.exits(0)
    }

    pub(crate) fn install(&self, values: &Values) -> Result<()> {
        self.release("install", values)
    }

    pub(crate) fn upgrade(&self, values: &Values) -> Result<()> {
        self.release("upgrade", values)
    }

    /// Uninstalls the release and waits until nothing of it and of its jobs is left.
    pub(crate) fn uninstall(&self) -> Result<()> {
        self.uninstall_with(&[])
    }

    /// As [`uninstall`](Self::uninstall), with further flags.
    pub(crate) fn uninstall_with(&self, flags: &[&str]) -> Result<()> {
        self.helm(&[&["uninstall", RELEASE], flags].concat())?.exits(0)?;
        let mut left = Vec::new();
        let gone = until(PATIENCE, "an empty namespace", || {
            left = self.left()?;
            Ok(left.is_empty().then_some(()))
        });
        gone.with_context(|| format!("left behind: {}", left.join(", ")))
    }

    /// Returns what is in the namespace, except what Kubernetes itself created there.
    pub(crate) fn left(&self) -> Result<Vec<String>> {
        const ITS_OWN: [&str; 2] = ["ServiceAccount default", "ConfigMap kube-root-ca.crt"];
        let kinds = "jobs,cronjobs,pods,configmaps,secrets,serviceaccounts,roles,rolebindings";
        let mut names = self.names(&[kinds])?;
        names.retain(|name| !ITS_OWN.contains(&name.as_str()));
        Ok(names)
    }

    /// Runs `kubectl get ARGS`, and returns `KIND NAME` of each object.
    fn names(&self, args: &[&str]) -> Result<Vec<String>> {
        let name = |it: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!("{} {}", text(&it["kind"]), text(&it["metadata"]["name"]))
        };
        Ok(self.get(args)?.iter().map(name).collect())
    }

    /// Returns `KIND NAME` of each object that the release's commands have created for their jobs.
    pub(crate) fn launched_objects(&self) -> Result<Vec<String>> {
        self.names(&["jobs,pods,secrets", "--selector", LAUNCHED])
    }

    /// Runs `kubectl get ARGS`.
    pub(crate) fn get(&self, args: &[&str]) -> Result<Vec<Value>> {
        let args: Vec<&str> = ["get", "--output=json"].iter().chain(args).copied().collect();
        let list: Value = serde_json::from_str(&self.kubectl(&args)?)?;
        Ok(list["items"].as_array().context("kubectl gave no list")?.clone())
    }

    /// Returns the Pods of the jobs that the release's command has launched.
    pub(crate) fn launched(&self) -> Result<Vec<Value>> {
        self.get(&["pods", "--selector", LAUNCHED])
    }

    /// Waits until a job runs, and returns its Pod.
    pub(crate) fn running_job(&self) -> Result<Value> {
        let found = until(PATIENCE, "a running job", || {
            Ok(self.launched()?.into_iter().find(|pod| pod["status"]["phase"] == "Running"))
        });
        found.with_context(|| self.story())
    }

    /// Waits until nothing is left of what a command has launched.
    pub(crate) fn until_cleaned_up(&self) -> Result<()> {
        let mut left = Vec::new();
        let gone = until(PATIENCE, "the end of what was launched", || {
            left = self.launched_objects()?;
            Ok(left.is_empty().then_some(()))
        });
        gone.with_context(|| format!("left behind: {}\n{}", left.join(", "), self.story()))
    }

    /// Returns the Pods of the command.
    pub(crate) fn commands(&self) -> Result<Vec<Value>> {
        self.get(&["pods", "--selector", COMMAND])
    }

    /// Returns the only Job of the release, which runs the command.
    pub(crate) fn job(&self) -> Result<Value> {
        let selector = "app.kubernetes.io/managed-by=Helm";
        let jobs = self.get(&["jobs", "--selector", selector])?;
        let [job] = jobs.as_slice() else { anyhow::bail!("{} Jobs, not one", jobs.len()) };
        Ok(job.clone())
    }

    /// Waits until the release's Job is complete, and returns the output of its own job. The Pod's
    /// log also has the command's stderr, which is removed.
    pub(crate) fn output(&self, job: &str) -> Result<String> {
        let complete = || {
            let found: Value =
                serde_json::from_str(&self.kubectl(&["get", "job", job, "--output=json"])?)?;
            let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let is = |kind: &str| {
                conditions.iter().any(|it| it["type"] == kind && it["status"] == "True")
            };
            ensure!(!is("Failed"), "the Job has failed");
            Ok(is("Complete").then_some(()))
        };
        until(PATIENCE, "the Job's completion", complete).with_context(|| self.story())?;
        let said = self.kubectl(&["logs", &format!("job/{job}")])?;
        Ok(said.split_inclusive('\n').filter(|line| !line.starts_with("longshore: ")).collect())
    }

    /// Returns the information that a user would look at.
    pub(crate) fn story(&self) -> String {
        let say = |args: &[&str]| self.kubectl(args).unwrap_or_else(|error| format!("{error:#}"));
        format!(
            "{}\n{}",
            say(&["get", "jobs,pods,events"]),
            say(&["logs", "--selector", COMMAND, "--tail=20"])
        )
    }

    /// Writes `text` to a file of the case.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<String> {
        Ok(self.bench.folders.file(name, text)?.to_string_lossy().into_owned())
    }

    /// Creates `object`.
    pub(crate) fn create(&self, object: &Value) -> Result<Ran> {
        let file = self.file("object.json", &object.to_string())?;
        self.try_kubectl(&["create", "--filename", &file])
    }

    /// Creates a volume of `folder` and a claim on it, and returns the claim's name.
    pub(crate) fn claim(&self, folder: &Path) -> Result<&str> {
        let size = json!({ "storage": "1Mi" });
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": { "name": self.namespace },
            "spec": {
                "capacity": size, "accessModes": ["ReadWriteMany"],
                "hostPath": { "path": folder }, "persistentVolumeReclaimPolicy": "Retain",
            },
        });
        self.create(&volume)?.exits(0)?;
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": { "name": "jobs" },
            "spec": {
                "accessModes": ["ReadWriteMany"], "storageClassName": "",
                "volumeName": self.namespace, "resources": { "requests": size },
            },
        });
        self.create(&claim)?.exits(0)?;
        Ok("jobs")
    }

    /// Removes the namespace and waits until it is gone.
    pub(crate) fn close(mut self) -> Result<()> {
        self.closed = true;
        self.kubectl(&["delete", "namespace", &self.namespace, "--timeout=80s"])?;
        self.kubectl(&["delete", "persistentvolume", &self.namespace, "--ignore-not-found"])
            .map(drop)
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        if !self.closed {
            // The failure of the case is already reported.
            let name = self.namespace.as_str();
            let _ = self.try_kubectl(&["delete", "namespace", name, "--wait=false"]);
            let volume = ["delete", "persistentvolume", name, "--wait=false", "--ignore-not-found"];
            let _ = self.try_kubectl(&volume);
        }
    }
}

/// Returns the chart's folder.
pub(crate) fn chart() -> String {
    chart_folder().to_string_lossy().into_owned()
}

pub(crate) fn chart_folder() -> PathBuf {
    programs::checkout().join("conf/helm/longshore")
}

//! The requests that Longshore sends to the API server.

use std::fmt::Debug;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::client::{Cluster, Failure};
use crate::location::Location;
use crate::names::{self, Commit, Ending, object_name};
use crate::pod_view::PodView;

type Answer<T> = Result<T, Failure>;

/// The result of a guarded patch.
#[derive(Debug)]
pub(crate) enum Patched {
    /// The API server applied the patch; this is the object now.
    Applied(Box<Job>),
    /// A test in the patch failed: the object is not in the state that the patch expects.
    Refused,
    /// The object does not exist.
    Gone,
}

/// How many times a patch is sent again after a 409. The API server answers 409 if concurrent
/// writes keep it from applying a patch. Each patch tests what it changes, so repeating it is safe.
const CONFLICTS: usize = 5;

impl Cluster {
    /// Returns the namespace of `location`.
    pub(crate) fn namespace<'a>(&'a self, location: &'a Location) -> &'a str {
        location.namespace.as_deref().unwrap_or(&self.namespace)
    }

    fn jobs(&self, location: &Location) -> Api<Job> {
        Api::namespaced(self.client.clone(), self.namespace(location))
    }

    /// Returns the client for the Pods in the namespace of `location`.
    pub(crate) fn pods(&self, location: &Location) -> Api<Pod> {
        Api::namespaced(self.client.clone(), self.namespace(location))
    }

    /// Asks the server whether it would create `object`, and returns what that would become.
    /// Changes nothing: admission and quotas decide as for a real request
    /// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run>).
    pub(crate) async fn would_create<K>(&self, location: &Location, object: &K) -> Answer<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), self.namespace(location));
        let params = PostParams { dry_run: true, ..PostParams::default() };
        self.ask("failed to check the job", api.create(&params, object)).await
    }

    /// Creates `job`.
    pub(crate) async fn create_job(&self, location: &Location, job: &Job) -> Answer<Job> {
        let (api, params) = (self.jobs(location), PostParams::default());
        self.ask("failed to create the Job", api.create(&params, job)).await
    }

    /// Returns the Job of `location`, if it exists.
    pub(crate) async fn get_job(&self, location: &Location) -> Answer<Option<Job>> {
        let api = self.jobs(location);
        self.ask("failed to read the Job", api.get_opt(&location.job)).await
    }

    /// Creates `secret`.
    pub(crate) async fn create_secret(
        &self,
        location: &Location,
        secret: &Secret,
    ) -> Answer<Secret> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace(location));
        let params = PostParams::default();
        self.ask("failed to create the Secret", api.create(&params, secret)).await
    }

    /// Deletes the attempt's own Secret, if it exists. If that fails, Kubernetes deletes the Secret
    /// together with the Job that owns it.
    pub(crate) async fn delete_secret(&self, location: &Location) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace(location));
        let params = DeleteParams::default();
        let deleting = self.ask("failed to delete the Secret", api.delete(&location.job, &params));
        if let Err(failure) = gone_is_fine(deleting.await.map(drop)) {
            let error = longshore_core::Error::from(failure);
            tracing::warn!(%error, secret = %location.job, "a Secret stays until its Job is removed");
        }
    }

    /// Releases the Job with `uid`, unless it has been fenced.
    pub(crate) async fn commit(&self, location: &Location, uid: &str) -> Answer<Patched> {
        let patch = json!([
            test_uid(uid),
            test_commit(Commit::Open),
            set_commit(Commit::Committed),
            {"op": "add", "path": "/spec/parallelism", "value": 1},
            set_suspend(false),
        ]);
        self.patch_job("failed to release the Job", location, patch).await
    }

    /// Fences the Job with `uid`, unless it has been released: it is suspended, or, if somebody else
    /// has changed that, its parallelism is 0.
    pub(crate) async fn fence(&self, location: &Location, uid: &str) -> Answer<Patched> {
        let holds = [("/spec/suspend", json!(true)), ("/spec/parallelism", json!(0))];
        for (path, value) in holds {
            let patch = json!([
                test_uid(uid),
                {"op": "test", "path": path, "value": value},
                test_commit(Commit::Open),
                set_commit(Commit::Closed),
            ]);
            match self.patch_job("failed to fence the Job", location, patch).await? {
                Patched::Refused => {}
                patched => return Ok(patched),
            }
        }
        Ok(Patched::Refused)
    }

    /// Marks the released Job with `uid` as withdrawn, so that every process that follows it knows
    /// who deletes its Pod.
    pub(crate) async fn announce_withdrawal(
        &self,
        location: &Location,
        uid: &str,
    ) -> Answer<Patched> {
        let patch =
            json!([test_uid(uid), test_commit(Commit::Committed), set_commit(Commit::Withdrawn),]);
        self.patch_job("failed to withdraw the Job", location, patch).await
    }

    /// Suspends the withdrawn Job with `uid`. Kubernetes then creates no Pod for it and deletes the
    /// existing one.
    pub(crate) async fn suspend(&self, location: &Location, uid: &str) -> Answer<Patched> {
        let patch = json!([test_uid(uid), test_commit(Commit::Withdrawn), set_suspend(true)]);
        self.patch_job("failed to suspend the Job", location, patch).await
    }

    /// Turns the fenced Job with `uid` into a tombstone: it creates no Pod and fails after one
    /// second, and Kubernetes removes it after `seconds`. Until then, a late launch finds the name
    /// in use.
    pub(crate) async fn turn_into_tombstone(
        &self,
        location: &Location,
        uid: &str,
        seconds: i32,
    ) -> Answer<Patched> {
        let label = format!("/metadata/labels/{}", pointer(names::TOMBSTONE));
        let patch = json!([
            test_uid(uid),
            test_commit(Commit::Closed),
            {"op": "add", "path": label, "value": "true"},
            {"op": "replace", "path": "/spec/parallelism", "value": 0},
            {"op": "add", "path": "/spec/activeDeadlineSeconds", "value": 1},
            {"op": "replace", "path": "/spec/ttlSecondsAfterFinished", "value": seconds},
            set_suspend(false),
        ]);
        self.patch_job("failed to close the Job", location, patch).await
    }

    /// Records on the Job why Longshore ends the job early. The first mark stays. A mark that
    /// another client has removed is not written again.
    pub(crate) async fn mark(&self, location: &Location, ending: Ending) -> Answer<Patched> {
        let path = annotation_path(names::ENDING);
        let patch = json!([
            {"op": "test", "path": path, "value": Ending::None.as_str()},
            {"op": "replace", "path": path, "value": ending.as_str()},
        ]);
        self.patch_job("failed to mark the Job", location, patch).await
    }

    /// Records why Longshore ends the job early, if another client has removed the annotation.
    pub(crate) async fn mark_again(
        &self,
        location: &Location,
        uid: &str,
        ending: Ending,
    ) -> Answer<Job> {
        let patch = Patch::Merge(json!({
            "metadata": {"uid": uid, "annotations": {names::ENDING: ending.as_str()}},
        }));
        let (api, params) = (self.jobs(location), PatchParams::default());
        let request = api.patch(&location.job, &params, &patch);
        self.ask("failed to mark the Job", request).await
    }

    async fn patch_job(
        &self,
        action: &'static str,
        location: &Location,
        ops: Value,
    ) -> Answer<Patched> {
        let api = self.jobs(location);
        let mut conflicts = 0;
        loop {
            let request = async {
                let patch: Patch<Job> = json_patch(&ops)?;
                api.patch(&location.job, &PatchParams::default(), &patch).await
            };
            match self.ask(action, request).await {
                Ok(job) => return Ok(Patched::Applied(Box::new(job))),
                Err(failure) => match failure.code() {
                    Some(404) => return Ok(Patched::Gone),
                    // The API server answers 422 (Unprocessable Entity) if a test failed
                    // (`apiserver/pkg/endpoints/handlers/patch.go`).
                    Some(422) => return Ok(Patched::Refused),
                    Some(409) if conflicts < CONFLICTS => conflicts += 1,
                    _ => return Err(failure),
                },
            }
        }
    }

    /// Deletes the Job of `location`; with `uid`, only the Job with that uid. Kubernetes then deletes
    /// its Pods and its Secret. Returns `false` if there is no such Job.
    pub(crate) async fn delete_job(&self, location: &Location, uid: Option<&str>) -> Answer<bool> {
        let mut params = DeleteParams::background();
        params.preconditions =
            uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let api = self.jobs(location);
        match self.ask("failed to delete the Job", api.delete(&location.job, &params)).await {
            Ok(_) => Ok(true),
            // 409: another object now has the name, so the intended one is gone.
            Err(failure) if matches!(failure.code(), Some(404 | 409)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Deletes the Job with `uid` if it has not changed since `version`. Returns `None` if it has,
    /// and `false` if there is no such Job.
    pub(crate) async fn delete_job_in(
        &self,
        location: &Location,
        uid: &str,
        version: &str,
    ) -> Answer<Option<bool>> {
        let mut params = DeleteParams::background();
        params.preconditions = Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: Some(version.to_owned()),
        });
        let api = self.jobs(location);
        match self.ask("failed to delete the Job", api.delete(&location.job, &params)).await {
            Ok(_) => Ok(Some(true)),
            Err(failure) => match failure.code() {
                Some(404) => Ok(Some(false)),
                Some(409) => Ok(None),
                _ => Err(failure),
            },
        }
    }

    /// Returns the Pods that carry the attempt's labels.
    pub(crate) async fn pods_of(&self, location: &Location) -> Answer<Vec<Pod>> {
        let selector = format!(
            "{}={},{}={}",
            names::INSTALLATION,
            location.installation,
            names::ATTEMPT,
            location.attempt
        );
        self.select_pods(location, &selector).await
    }

    /// Returns the Pods that the Job controller created for the attempt's Job. Selects them by the
    /// label that the controller itself sets
    /// (<https://kubernetes.io/docs/reference/labels-annotations-taints/#batchkubernetesio-job-name>).
    pub(crate) async fn pods_by_job_name(&self, location: &Location) -> Answer<Vec<Pod>> {
        self.select_pods(location, &format!("batch.kubernetes.io/job-name={}", location.job)).await
    }

    async fn select_pods(&self, location: &Location, selector: &str) -> Answer<Vec<Pod>> {
        let (api, params) = (self.pods(location), ListParams::default().labels(selector));
        let list = self.ask("failed to list the job's Pods", api.list(&params)).await?;
        Ok(list.items)
    }

    /// Returns the Pod called `name` in the namespace of `location`, if it exists.
    pub(crate) async fn pod_named(&self, location: &Location, name: &str) -> Answer<Option<Pod>> {
        self.pod_in(self.namespace(location), name).await
    }

    /// Returns the Pod called `name` in `namespace`, if it exists. Uses a list, because Longshore
    /// has no permission to get Pods.
    pub(crate) async fn pod_in(&self, namespace: &str, name: &str) -> Answer<Option<Pod>> {
        let params = ListParams::default().fields(&format!("metadata.name={name}"));
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let list = self.ask("failed to read a Pod", api.list(&params)).await?;
        Ok(list.items.into_iter().next())
    }

    /// Returns the Jobs of the installation that `location` names.
    pub(crate) async fn jobs_of(&self, location: &Location) -> Answer<Vec<Job>> {
        let selector = format!("{}={}", names::INSTALLATION, location.installation);
        let (api, params) = (self.jobs(location), ListParams::default().labels(&selector));
        let list = self.ask("failed to list the Jobs", api.list(&params)).await?;
        Ok(list.items)
    }

    /// Returns the Pods of the installation that `location` names that no Job owns, but whose labels
    /// and name show that they were created for one of its attempts.
    pub(crate) async fn orphans_of(&self, location: &Location) -> Answer<Vec<Pod>> {
        let mut pods = self
            .select_pods(location, &format!("{}={}", names::INSTALLATION, location.installation))
            .await?;
        pods.retain(|pod| {
            let view = PodView::from(pod);
            let attempt = pod.metadata.labels.as_ref().and_then(|l| l.get(names::ATTEMPT));
            let prefix = attempt.map(|attempt| format!("{}-", object_name(attempt)));
            let is_ours = prefix.is_some_and(|prefix| view.name.starts_with(&prefix));
            view.job.is_none() && !view.deleting && is_ours
        });
        Ok(pods)
    }

    /// Restores the attempt's labels, which another client has removed, on the Pod with `uid`.
    pub(crate) async fn label_pod(&self, location: &Location, name: &str, uid: &str) -> Answer<()> {
        let patch = Patch::Merge(json!({"metadata": {"uid": uid, "labels": {
            names::INSTALLATION: location.installation.as_str(),
            names::ATTEMPT: location.attempt,
        }}}));
        let (api, params) = (self.pods(location), PatchParams::default());
        let request = api.patch(name, &params, &patch);
        gone_is_fine(self.ask("failed to label the job's Pod", request).await.map(drop))
    }

    /// Makes the kubelet end the Pod now, with the grace period of its template, and records the
    /// reason on the Pod itself. The Pod and its logs stay; its reason becomes `DeadlineExceeded`.
    ///
    /// One patch sets both the mark and the deadline. The kubelet therefore never acts on the
    /// deadline without the mark, whatever happens to the Job's annotations.
    pub(crate) async fn expire_pod(
        &self,
        location: &Location,
        name: &str,
        uid: &str,
        mark: Ending,
    ) -> Answer<()> {
        let patch = Patch::Merge(json!({
            // The API server rejects a change of the uid, so this works as a precondition.
            "metadata": {"uid": uid, "annotations": {names::ENDING: mark.as_str()}},
            // The API allows the deadline of a running Pod to be set or lowered, to at least 1
            // second.
            "spec": {"activeDeadlineSeconds": 1},
        }));
        let (api, params) = (self.pods(location), PatchParams::default());
        let request = api.patch(name, &params, &patch);
        gone_is_fine(self.ask("failed to end the Pod", request).await.map(drop))
    }

    /// Deletes the Pod with `uid`: TERM, then KILL after `grace` seconds (at least 1). With
    /// `version`, deletes it only if the Pod has not changed since that resource version. Returns
    /// `false` if it has changed.
    pub(crate) async fn delete_pod(
        &self,
        location: &Location,
        name: &str,
        uid: &str,
        version: Option<&str>,
        grace: u32,
    ) -> Answer<bool> {
        let params = DeleteParams {
            grace_period_seconds: Some(grace.max(1)),
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: version.map(str::to_owned),
            }),
            ..<_>::default()
        };
        let api = self.pods(location);
        match self.ask("failed to delete the Pod", api.delete(name, &params)).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.code() == Some(404) => Ok(true),
            // Without a version, a 409 means that another Pod now has the name, so the intended one
            // is gone.
            Err(failure) if failure.code() == Some(409) => Ok(version.is_none()),
            Err(failure) => Err(failure),
        }
    }

    /// Returns the Events of the object with `uid`.
    pub(crate) async fn events_of(&self, location: &Location, uid: &str) -> Answer<Vec<Event>> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), self.namespace(location));
        let params = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
        let list = self.ask("failed to list the Events", api.list(&params)).await?;
        Ok(list.items)
    }
}

fn gone_is_fine(answer: Answer<()>) -> Answer<()> {
    match answer {
        // 409: another object now has the name, so the intended one is gone.
        Err(failure) if matches!(failure.code(), Some(404 | 409)) => Ok(()),
        other => other,
    }
}

fn json_patch<T: Serialize>(ops: &Value) -> kube::Result<Patch<T>> {
    serde_json::from_value(ops.clone()).map(Patch::Json).map_err(kube::Error::SerdeError)
}

fn annotation_path(key: &str) -> String {
    format!("/metadata/annotations/{}", pointer(key))
}

/// Returns `key` escaped as one part of a JSON Pointer (RFC 6901).
fn pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn test_uid(uid: &str) -> Value {
    json!({"op": "test", "path": "/metadata/uid", "value": uid})
}

fn test_commit(step: Commit) -> Value {
    json!({"op": "test", "path": annotation_path(names::COMMIT), "value": step.as_str()})
}

fn set_commit(step: Commit) -> Value {
    json!({"op": "replace", "path": annotation_path(names::COMMIT), "value": step.as_str()})
}

fn set_suspend(suspend: bool) -> Value {
    json!({"op": "replace", "path": "/spec/suspend", "value": suspend})
}

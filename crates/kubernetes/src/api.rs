//! The requests that Longshore makes.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};

use crate::client::{Cluster, Failure};
use crate::names::{self, Commit, Ending};
use crate::place::Place;
use crate::view::{PodView, object_name};

type Answer<T> = Result<T, Failure>;

/// What became of a guarded patch.
#[derive(Debug)]
pub(crate) enum Patched {
    /// It was applied; the object as it is now.
    Applied(Box<Job>),
    /// A test in it failed: the object is not as the patch expects.
    Refused,
    /// There is no such object.
    Gone,
}

/// How often a patch is sent again after 409, with which the API server answers when it could not
/// apply one for all the others. Each patch tests what it changes, so repeating it is safe.
const CONFLICTS: usize = 5;

impl Cluster {
    /// The namespace of `place`.
    pub(crate) fn namespace<'a>(&'a self, place: &'a Place) -> &'a str {
        place.namespace.as_deref().unwrap_or(&self.namespace)
    }

    fn jobs(&self, place: &Place) -> Api<Job> {
        Api::namespaced(self.client.clone(), self.namespace(place))
    }

    /// The Pods of `place`'s namespace.
    pub(crate) fn pods(&self, place: &Place) -> Api<Pod> {
        Api::namespaced(self.client.clone(), self.namespace(place))
    }

    /// Creates `job`.
    pub(crate) async fn create_job(&self, place: &Place, job: &Job) -> Answer<Job> {
        let (api, params) = (self.jobs(place), PostParams::default());
        self.ask("failed to create the Job", api.create(&params, job)).await
    }

    /// The Job of `place`, if it is there.
    pub(crate) async fn get_job(&self, place: &Place) -> Answer<Option<Job>> {
        let api = self.jobs(place);
        self.ask("failed to read the Job", api.get_opt(&place.job)).await
    }

    /// Creates `secret`.
    pub(crate) async fn create_secret(&self, place: &Place, secret: &Secret) -> Answer<Secret> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace(place));
        let params = PostParams::default();
        self.ask("failed to create the Secret", api.create(&params, secret)).await
    }

    /// Deletes the attempt's own Secret, if it is there. Where that cannot be done it goes with the
    /// Job that owns it.
    pub(crate) async fn drop_secret(&self, place: &Place) {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), self.namespace(place));
        let params = DeleteParams::default();
        let deleting = self.ask("failed to delete the Secret", api.delete(&place.job, &params));
        if let Err(failure) = gone_is_fine(deleting.await.map(drop)) {
            let error = longshore_core::Error::from(failure);
            tracing::warn!(%error, secret = %place.job, "a Secret stays until its Job is removed");
        }
    }

    /// Releases the Job with `uid`, if nobody has fenced it.
    pub(crate) async fn commit(&self, place: &Place, uid: &str) -> Answer<Patched> {
        let patch = json!([
            test_uid(uid),
            test_commit(Commit::Open),
            set_commit(Commit::Committed),
            set_suspend(false),
        ]);
        self.patch_job("failed to release the Job", place, patch).await
    }

    /// Fences the Job with `uid`, if nobody has released it.
    pub(crate) async fn fence(&self, place: &Place, uid: &str) -> Answer<Patched> {
        let patch = json!([
            test_uid(uid),
            {"op": "test", "path": "/spec/suspend", "value": true},
            test_commit(Commit::Open),
            set_commit(Commit::Closed),
        ]);
        self.patch_job("failed to fence the Job", place, patch).await
    }

    /// Marks the released Job with `uid` as withdrawn, so that everybody who follows it knows who
    /// deletes its Pod.
    pub(crate) async fn announce_withdrawal(&self, place: &Place, uid: &str) -> Answer<Patched> {
        let patch =
            json!([test_uid(uid), test_commit(Commit::Committed), set_commit(Commit::Withdrawn),]);
        self.patch_job("failed to withdraw the Job", place, patch).await
    }

    /// Suspends the withdrawn Job with `uid`, so that Kubernetes creates no Pod for it and deletes
    /// the one that exists.
    pub(crate) async fn suspend(&self, place: &Place, uid: &str) -> Answer<Patched> {
        let patch = json!([test_uid(uid), test_commit(Commit::Withdrawn), set_suspend(true)]);
        self.patch_job("failed to suspend the Job", place, patch).await
    }

    /// Makes a tombstone of the fenced Job with `uid`: it makes no Pod, fails after a second, and
    /// Kubernetes removes it after `seconds`. Meanwhile a launch that is late finds the name taken.
    pub(crate) async fn bury(&self, place: &Place, uid: &str, seconds: i32) -> Answer<Patched> {
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
        self.patch_job("failed to close the Job", place, patch).await
    }

    /// Marks why Longshore ends the job early. The first mark stays, and a mark that somebody has
    /// removed is not replaced.
    pub(crate) async fn mark(&self, place: &Place, ending: Ending) -> Answer<Patched> {
        let path = annotation_path(names::ENDING);
        let patch = json!([
            {"op": "test", "path": path, "value": Ending::None.as_str()},
            {"op": "replace", "path": path, "value": ending.as_str()},
        ]);
        self.patch_job("failed to mark the Job", place, patch).await
    }

    /// Marks why Longshore ends the job early, where somebody has removed the annotation.
    pub(crate) async fn mark_again(&self, place: &Place, uid: &str, ending: Ending) -> Answer<Job> {
        let patch = Patch::Merge(json!({
            "metadata": {"uid": uid, "annotations": {names::ENDING: ending.as_str()}},
        }));
        let (api, params) = (self.jobs(place), PatchParams::default());
        let request = api.patch(&place.job, &params, &patch);
        self.ask("failed to mark the Job", request).await
    }

    async fn patch_job(&self, action: &'static str, place: &Place, ops: Value) -> Answer<Patched> {
        let api = self.jobs(place);
        let mut conflicts = 0;
        loop {
            let request = async {
                let patch: Patch<Job> = json_patch(&ops)?;
                api.patch(&place.job, &PatchParams::default(), &patch).await
            };
            match self.ask(action, request).await {
                Ok(job) => return Ok(Patched::Applied(Box::new(job))),
                Err(failure) => match failure.code() {
                    Some(404) => return Ok(Patched::Gone),
                    // "Unprocessable Entity" is how the API server says that a test failed
                    // (`apiserver/pkg/endpoints/handlers/patch.go`).
                    Some(422) => return Ok(Patched::Refused),
                    Some(409) if conflicts < CONFLICTS => conflicts += 1,
                    _ => return Err(failure),
                },
            }
        }
    }

    /// Deletes the Job of `place`; with `uid`, only that one. Its Pods and its Secret follow.
    /// `false` if there is no such Job.
    pub(crate) async fn delete_job(&self, place: &Place, uid: Option<&str>) -> Answer<bool> {
        let mut params = DeleteParams::background();
        params.preconditions =
            uid.map(|uid| Preconditions { uid: Some(uid.to_owned()), resource_version: None });
        let api = self.jobs(place);
        match self.ask("failed to delete the Job", api.delete(&place.job, &params)).await {
            Ok(_) => Ok(true),
            // 409: another object has the name by now, so the one that was meant is gone.
            Err(failure) if matches!(failure.code(), Some(404 | 409)) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// The Pods of the attempt: those with its labels.
    pub(crate) async fn pods_of(&self, place: &Place) -> Answer<Vec<Pod>> {
        let selector = format!(
            "{}={},{}={}",
            names::INSTALLATION,
            place.installation,
            names::ATTEMPT,
            place.attempt
        );
        self.select_pods(place, &selector).await
    }

    /// The Pods that the Job controller created for the attempt's Job, by the label that it sets
    /// itself (<https://kubernetes.io/docs/reference/labels-annotations-taints/#batchkubernetesio-job-name>).
    pub(crate) async fn pods_by_job_name(&self, place: &Place) -> Answer<Vec<Pod>> {
        self.select_pods(place, &format!("batch.kubernetes.io/job-name={}", place.job)).await
    }

    async fn select_pods(&self, place: &Place, selector: &str) -> Answer<Vec<Pod>> {
        let (api, params) = (self.pods(place), ListParams::default().labels(selector));
        let list = self.ask("failed to list the job's Pods", api.list(&params)).await?;
        Ok(list.items)
    }

    /// The Pod called `name`, if it exists. Listed, as Longshore needs no permission to get Pods.
    pub(crate) async fn pod_named(&self, place: &Place, name: &str) -> Answer<Option<Pod>> {
        let params = ListParams::default().fields(&format!("metadata.name={name}"));
        let api = self.pods(place);
        let list = self.ask("failed to read the job's Pod", api.list(&params)).await?;
        Ok(list.items.into_iter().next())
    }

    /// The Jobs of the installation that `place` names.
    pub(crate) async fn jobs_of(&self, place: &Place) -> Answer<Vec<Job>> {
        let selector = format!("{}={}", names::INSTALLATION, place.installation);
        let (api, params) = (self.jobs(place), ListParams::default().labels(&selector));
        let list = self.ask("failed to list the Jobs", api.list(&params)).await?;
        Ok(list.items)
    }

    /// The Pods of the installation that `place` names which no Job owns, but by their labels and
    /// their name were created for one of its attempts.
    pub(crate) async fn orphans_of(&self, place: &Place) -> Answer<Vec<Pod>> {
        let mut pods = self
            .select_pods(place, &format!("{}={}", names::INSTALLATION, place.installation))
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

    /// Gives the Pod with `uid` the labels of the attempt again, which somebody has removed.
    pub(crate) async fn label_pod(&self, place: &Place, name: &str, uid: &str) -> Answer<()> {
        let patch = Patch::Merge(json!({"metadata": {"uid": uid, "labels": {
            names::INSTALLATION: place.installation.as_str(),
            names::ATTEMPT: place.attempt,
        }}}));
        let (api, params) = (self.pods(place), PatchParams::default());
        let request = api.patch(name, &params, &patch);
        gone_is_fine(self.ask("failed to label the job's Pod", request).await.map(drop))
    }

    /// Has the kubelet end the Pod now, with the grace period of its template, and marks on the Pod
    /// itself why. The Pod and its logs stay; its reason becomes `DeadlineExceeded`.
    ///
    /// The mark and the order are one change of one object, so the kubelet never acts on the order
    /// without the mark, whatever becomes of the Job's annotations.
    pub(crate) async fn expire_pod(
        &self,
        place: &Place,
        name: &str,
        uid: &str,
        mark: Ending,
    ) -> Answer<()> {
        let patch = Patch::Merge(json!({
            // The API server refuses a change of the uid, so this is a precondition.
            "metadata": {"uid": uid, "annotations": {names::ENDING: mark.as_str()}},
            // The API lets a running Pod's deadline be set or lowered, to no less than 1 second.
            "spec": {"activeDeadlineSeconds": 1},
        }));
        let (api, params) = (self.pods(place), PatchParams::default());
        let request = api.patch(name, &params, &patch);
        gone_is_fine(self.ask("failed to end the Pod", request).await.map(drop))
    }

    /// Deletes the Pod with `uid`: TERM, `grace` seconds (at least 1), KILL. With `version`, only
    /// if the Pod has not changed since that resource version. `false` if it has changed.
    pub(crate) async fn delete_pod(
        &self,
        place: &Place,
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
        let api = self.pods(place);
        match self.ask("failed to delete the Pod", api.delete(name, &params)).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.code() == Some(404) => Ok(true),
            // Without a version, another Pod has the name by now, so the one that was meant is
            // gone.
            Err(failure) if failure.code() == Some(409) => Ok(version.is_none()),
            Err(failure) => Err(failure),
        }
    }

    /// The Events of the object with `uid`.
    pub(crate) async fn events_of(&self, place: &Place, uid: &str) -> Answer<Vec<Event>> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), self.namespace(place));
        let params = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
        let list = self.ask("failed to list the Events", api.list(&params)).await?;
        Ok(list.items)
    }
}

fn gone_is_fine(answer: Answer<()>) -> Answer<()> {
    match answer {
        // 409: another object has the name by now, so the one that was meant is gone.
        Err(failure) if matches!(failure.code(), Some(404 | 409)) => Ok(()),
        other => other,
    }
}

fn json_patch<T: serde::Serialize>(ops: &Value) -> kube::Result<Patch<T>> {
    serde_json::from_value(ops.clone()).map(Patch::Json).map_err(kube::Error::SerdeError)
}

fn annotation_path(key: &str) -> String {
    format!("/metadata/annotations/{}", pointer(key))
}

/// `key` as a part of a JSON Pointer (RFC 6901).
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

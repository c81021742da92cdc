//! Submits an attempt: prepares it (harmless) and commits it (once).

use std::future::Future;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use longshore_core::{Attempt, Error, ErrorKind, LaunchError};
use tokio::time::{Instant, timeout};

use crate::api::Patched;
use crate::client::Failure;
use crate::discards::{Deleted, Unwanted, delete_unreleased};
use crate::job_view::JobView;
use crate::launch::{
    AFTER_CANCEL, CANCELLED_WITHDRAWAL, Interrupt, Launch, Launched, Origin, Prepared,
};
use crate::names::Commit;
use crate::subscription::Subscription;
use crate::translate::Submission;
use crate::{admission, secret, withdraw};

/// What prevents the release of a Job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fence {
    /// Its mark.
    Mark,
    /// Its deletion.
    Deletion,
}

impl Launch<'_> {
    /// Creates the suspended Job and its Secret, or finds those of an earlier launch.
    pub(crate) async fn prepare(
        &self,
        attempt: &Attempt,
        submission: &Submission,
    ) -> Launched<Prepared> {
        let creating = self.cluster.create_job(&self.location, &submission.job);
        let created = match self.unless_given_up(creating).await {
            Ok(Ok(job)) => job,
            Ok(Err(failure)) if failure.code() == Some(409) => {
                let job = self.find(attempt).await?;
                return Ok(Prepared { job, origin: Origin::Found, unwanted: None });
            }
            Ok(Err(failure)) if failure.had_no_effect() => {
                return Err(LaunchError::Refused(failure.into()));
            }
            Ok(Err(failure)) => return Err(self.unanswered(failure.into()).await),
            Err(interrupt) => return Err(self.unanswered(self.given_up(interrupt)).await),
        };
        let job = JobView::from(&created);
        let origin = Origin::Created(created.metadata.resource_version.clone());
        let unwanted = match self.unwanted(&job, &created, submission) {
            Some(error) => Some(error),
            None => self.keep_secret(attempt, &job, false).await.err(),
        };
        let Some(error) = unwanted else {
            return Ok(Prepared { job, origin, unwanted: None });
        };
        if job.held {
            return Err(self.give_up(&job, error).await);
        }
        Ok(Prepared { job, origin, unwanted: Some(error) })
    }

    /// Removes a Job that was created and that nobody has released. Returns `Refused` with `error` if
    /// nothing of it started.
    async fn give_up(&self, job: &JobView, error: Error) -> LaunchError {
        if job.commit == Some(Commit::Open) {
            return self.abandon(job, error).await;
        }
        // Without its mark, no launch releases it.
        self.discard(Unwanted::Created { uid: job.uid.clone() }).await;
        LaunchError::Refused(error)
    }

    /// Returns the error for a request to create the Job that failed with `error` and may still take
    /// effect. A Job that nobody releases starts nothing.
    async fn unanswered(&self, error: Error) -> LaunchError {
        if self.discard(Unwanted::Unanswered).await {
            return LaunchError::Indeterminate(error);
        }
        LaunchError::Refused(error)
    }

    /// Returns why Longshore does not run `job`, which `created` describes.
    fn unwanted(&self, job: &JobView, created: &Job, submission: &Submission) -> Option<Error> {
        self.foreign(job).or_else(|| {
            let changes = admission::broken_by_admission(&submission.job, created)?;
            let message = "admission changes Longshore's Jobs in this namespace, so Longshore \
                           cannot promise to start one at most once";
            Some(Error::new(ErrorKind::Unsupported, message).with("changes", changes))
        })
    }

    /// Records on a Job that somebody else released, and that Longshore does not run for the reason
    /// `error`, that it is released. Returns the error if that fails. Without Longshore's marks, no
    /// process can follow or take back the Job, so it is removed.
    pub(crate) async fn take_over(&self, job: &JobView, error: Error) -> Launched<Error> {
        self.backend.note_commit(&self.location);
        match self.cluster.commit(&self.location, &job.uid).await {
            Ok(Patched::Applied(_)) => Ok(error),
            Ok(Patched::Refused) => {
                self.discard(Unwanted::Created { uid: job.uid.clone() }).await;
                Err(LaunchError::Indeterminate(error))
            }
            Ok(Patched::Gone) | Err(_) => Err(LaunchError::Indeterminate(error)),
        }
    }

    /// Creates the Secret of `job`, if it needs one. With `again`, the Secret may already exist.
    async fn keep_secret(
        &self,
        attempt: &Attempt,
        job: &JobView,
        again: bool,
    ) -> longshore_core::Result<()> {
        let Some(secret) = self.secret(attempt, job) else { return Ok(()) };
        let creating = self.cluster.create_secret(&self.location, &secret);
        match self.unless_given_up(creating).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(failure)) if again && failure.code() == Some(409) => Ok(()),
            Ok(Err(failure)) => Err(failure.into()),
            Err(interrupt) => Err(self.given_up(interrupt)),
        }
    }

    fn secret(&self, attempt: &Attempt, job: &JobView) -> Option<Secret> {
        let mut secret =
            secret::secret(attempt, &self.backend.config, |value| value.expose().to_owned())?;
        // With this owner, Kubernetes removes the Secret when any client removes the Job.
        secret.metadata.owner_references = Some(vec![OwnerReference {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            name: self.location.job.clone(),
            uid: job.uid.clone(),
            ..<_>::default()
        }]);
        Some(secret)
    }

    /// Returns the existing Job that has the attempt's name.
    async fn find(&self, attempt: &Attempt) -> Launched<JobView> {
        let refuse = |message: &'static str| {
            let error = Error::new(ErrorKind::Internal, message);
            LaunchError::Refused(error.with("job", &self.location.job))
        };
        let found = self.cluster.get_job(&self.location).await;
        let found = found.map_err(|e| LaunchError::Indeterminate(e.into()))?;
        let Some(job) = found.as_ref().map(JobView::from) else {
            return Err(refuse("the Job was removed while it was being launched again"));
        };
        let ours = job.attempt.as_deref() == Some(attempt.id.as_str())
            && job.installation.as_deref() == Some(attempt.installation.as_str());
        if !ours || job.commit.is_none() {
            return Err(refuse("a Job that is not this attempt's has its name"));
        }
        if let Some(owner) = self.foreign(&job) {
            return Err(LaunchError::Indeterminate(owner));
        }
        if job.commit == Some(Commit::Open) {
            // The process that created the Job may have ended before it created the Secret.
            if let Err(error) = self.keep_secret(attempt, &job, true).await {
                return Err(self.abandon(&job, error).await);
            }
        }
        Ok(job)
    }

    fn foreign(&self, job: &JobView) -> Option<Error> {
        let owner = job.foreign_owner.as_ref()?;
        let message = "another controller starts and stops Jobs in this namespace, so Longshore \
                       cannot promise to start one at most once";
        Some(Error::new(ErrorKind::Unsupported, message).with("controller", owner))
    }

    pub(crate) async fn commit(
        &self,
        job: &JobView,
        subscription: &mut Subscription,
    ) -> Launched<()> {
        if let Some(interrupt) = self.interrupted_now() {
            return Err(self.abandon(job, self.given_up(interrupt)).await);
        }
        self.backend.note_commit(&self.location);
        match self.cluster.commit(&self.location, &job.uid).await {
            Ok(Patched::Applied(now)) => {
                let now = JobView::from(&*now);
                subscription.record_release(&self.location.attempt, now);
                Ok(())
            }
            Ok(Patched::Gone) => Err(LaunchError::Indeterminate(Error::new(
                ErrorKind::Internal,
                "somebody deleted the Job before it was released",
            ))),
            Ok(Patched::Refused) => match self.cluster.get_job(&self.location).await {
                Ok(Some(now)) => match JobView::from(&now) {
                    now if now.commit == Some(Commit::Committed) => {
                        subscription.want_jobs();
                        Ok(())
                    }
                    now => Err(self.fenced(&now, subscription).await),
                },
                Ok(None) => Err(LaunchError::Indeterminate(Error::new(
                    ErrorKind::Internal,
                    "somebody deleted the Job while it was being released",
                ))),
                Err(failure) => Err(LaunchError::Indeterminate(failure.into())),
            },
            // The answer was lost; the fence shows which of the two came first.
            Err(failure) => match self.abandon(job, failure.into()).await {
                LaunchError::Indeterminate(error) => {
                    match self.cluster.get_job(&self.location).await {
                        Ok(Some(now)) if JobView::from(&now).commit == Some(Commit::Committed) => {
                            subscription.want_jobs();
                            Ok(())
                        }
                        _ => Err(LaunchError::Indeterminate(error)),
                    }
                }
                refused => Err(refused),
            },
        }
    }

    /// Returns the error for a Job that has been fenced or withdrawn.
    pub(crate) async fn fenced(
        &self,
        job: &JobView,
        subscription: &mut Subscription,
    ) -> LaunchError {
        let message = "the attempt was fenced before it had started";
        let error = Error::new(ErrorKind::Internal, message);
        if job.commit == Some(Commit::Closed) {
            // The Secret may have been created after the process that fenced the Job looked for it.
            if job.own_secret {
                self.cluster.delete_secret(&self.location).await;
            }
            self.backend.forget_commit(&self.location);
            return LaunchError::Refused(error);
        }
        let by = Instant::now() + CANCELLED_WITHDRAWAL;
        match withdraw::proof(&self.cluster, &self.location, subscription, by).await {
            Some(true) => LaunchError::Refused(error),
            _ => LaunchError::Indeterminate(error),
        }
    }

    /// Fences and removes a Job that was not released. Returns `Refused` with `error` if the fence
    /// wins.
    pub(crate) async fn abandon(&self, job: &JobView, error: Error) -> LaunchError {
        match timeout(CANCELLED_WITHDRAWAL, self.fence(job)).await {
            Ok(Ok(Some(Fence::Mark))) => self.remove(&job.uid).await,
            Ok(Ok(Some(Fence::Deletion))) => {}
            Ok(Ok(None) | Err(_)) | Err(_) => return LaunchError::Indeterminate(error),
        }
        self.backend.forget_commit(&self.location);
        LaunchError::Refused(error)
    }

    /// Fences `job`. Returns `None` if nothing is proven.
    async fn fence(&self, job: &JobView) -> Result<Option<Fence>, Failure> {
        match self.cluster.fence(&self.location, &job.uid).await {
            Ok(Patched::Applied(_)) => Ok(Some(Fence::Mark)),
            Ok(Patched::Refused | Patched::Gone) => Ok(None),
            // Without the permission to patch, the deletion is the fence.
            Err(failure) if failure.code() == Some(403) => {
                let uid = Some(job.uid.as_str());
                let deleted = delete_unreleased(&self.cluster, &self.location, uid).await?;
                Ok((deleted == Deleted::Unreleased).then_some(Fence::Deletion))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Removes a Job that was never released. If that takes long, it goes on in the background.
    /// Returns `true` if it was left alone, because it has been released or fenced.
    async fn discard(&self, unwanted: Unwanted) -> bool {
        self.backend.discards.discard(&self.location, unwanted, AFTER_CANCEL).await
    }

    /// Returns the answer of `request`, unless the launch gives up first. After a cancel, the
    /// request gets a little more time.
    async fn unless_given_up<T>(
        &self,
        request: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Result<T, Failure>, Interrupt> {
        let mut request = std::pin::pin!(request);
        tokio::select! {
            answer = &mut request => return Ok(answer),
            interrupt = self.interrupted() => {
                if interrupt == Interrupt::Deadline {
                    return Err(interrupt);
                }
            }
        }
        timeout(AFTER_CANCEL, request).await.map_err(|_| Interrupt::Cancelled)
    }
}

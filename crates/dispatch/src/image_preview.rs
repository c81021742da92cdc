//! What is known about a job's image before anything starts.

use std::sync::Arc;

use futures_util::future::join_all;
use longshore_core::{ImageRef, JobSpec, PullPolicy};

use crate::candidate::Candidate;
use crate::credentials::Credentials;
use crate::report::{ImagePreview, LoginName, RunnerImage};
use crate::{EffectivePullPolicy, Settings};

/// Looks at the image of `spec` concurrently on each of `candidates` that runs containers.
pub(crate) async fn look(
    spec: &JobSpec,
    image: &ImageRef,
    candidates: &[Arc<Candidate>],
    settings: &Settings,
    credentials: &Credentials,
) -> ImagePreview {
    let candidates = candidates.iter().filter(|candidate| candidate.runs_containers());
    let asked = candidates.map(|candidate| async move {
        let pull_policy = candidate.pull_policy(Some(spec), settings);
        let warning = may_be_old(image, &pull_policy);
        let local = candidate.local_image(image).await;
        RunnerImage { runner: candidate.name().clone(), pull_policy, local, warning }
    });
    let (found, runners) = tokio::join!(credentials.find(spec), join_all(asked));
    let (login, warnings) = match found {
        Ok(found) => (Ok(LoginName::of(&found)), found.warnings),
        Err(error) => (Err(error), Vec::new()),
    };
    ImagePreview { image: image.clone(), login, warnings, runners }
}

/// Returns a warning that the tag can be pushed again unnoticed, if the policy does not check for
/// it.
pub(crate) fn may_be_old(image: &ImageRef, policy: &EffectivePullPolicy) -> Option<String> {
    let first = policy.policies.iter().next();
    (image.is_mutable() && first == Some(PullPolicy::IfNotPresent)).then(|| {
        format!(
            "{image} can be pushed again, and with IfNotPresent a node keeps its old copy: use a \
             digest or Always"
        )
    })
}

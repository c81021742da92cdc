//! The labels and annotations of an attempt's objects.

use std::collections::BTreeMap;

use longshore_core::{Attempt, RESERVED_LABEL_PREFIX};

use crate::config::KubernetesConfig;
use crate::names::{ATTEMPT, INSTALLATION, JOB};

/// Returns the labels of `attempt`'s objects: those of the configuration, then of the job, then
/// Longshore's own. The last one wins.
pub(crate) fn labels(attempt: &Attempt, config: &KubernetesConfig) -> BTreeMap<String, String> {
    let mut labels = config.labels.clone();
    labels.extend(attempt.spec.labels.clone());
    labels.extend([
        (INSTALLATION.to_owned(), attempt.installation.to_string()),
        (JOB.to_owned(), attempt.job.to_string()),
        (ATTEMPT.to_owned(), attempt.id.to_string()),
    ]);
    labels
}

/// Returns the configured annotations of every Job and Pod, without those that are Longshore's own.
pub(crate) fn annotations(config: &KubernetesConfig) -> BTreeMap<String, String> {
    let mut annotations = config.annotations.clone();
    annotations.retain(|key, _| !key.starts_with(RESERVED_LABEL_PREFIX));
    annotations
}

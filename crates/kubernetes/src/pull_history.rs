//! The history of an image's pull, from a Pod's Events and container statuses. Pure.

use crate::pull;

/// What Events and statuses have said about the pull of the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PullHistory {
    /// Whether the node asked a registry; `None` without evidence.
    pub(crate) consulted: Option<bool>,
    /// Whether the node is pulling now.
    pub(crate) pulling: bool,
    /// The node's message about the last failed pull; `None` once a pull has succeeded.
    pub(crate) failure: Option<String>,
    /// The node's last warning about pull secrets that it could not read. It pulls without them.
    pub(crate) secrets_warning: Option<String>,
    /// The pull secrets that the node could not read since its last pull began.
    unread: Option<String>,
    /// The pull secrets that the last pull began without.
    missed: Option<String>,
    /// The pull secrets that the last failed pull did not have; `None` if no Event of a failed pull
    /// has come.
    refused: Option<Option<String>>,
    /// How many times the container's status changed to `ErrImagePull`.
    errors: u32,
}

impl PullHistory {
    /// Processes one of the Pod's Events.
    ///
    /// Before each pull, a kubelet reads the pull secrets and warns about those that it cannot read
    /// (`pkg/kubelet/kubelet_pods.go`, `getPullSecretsForPod`). It then reports `Pulling`, and then
    /// how the pull ended. One recorder sends all of these Events, in this order.
    pub(crate) fn event(&mut self, reason: &str, message: &str) {
        if reason == "FailedToRetrieveImagePullSecret" {
            self.secrets_warning = Some(message.to_owned());
            self.unread = names(message);
        }
        if reason == "Pulling" {
            self.missed = self.unread.take();
        }
        if let Some(consulted) = pull::registry_consulted(reason, message) {
            // A later pull may find the image on the node, but the first one asked a registry.
            self.consulted = Some(self.consulted.unwrap_or_default() || consulted);
            self.pulling = reason == "Pulling";
            if !self.pulling {
                self.failure = None;
            }
        }
        if let Some(failure) = pull::runtime_message(reason, message) {
            self.pulling = false;
            self.failure = Some(failure.to_owned());
            self.refused = Some(self.missed.clone());
        }
    }

    /// Processes the reason and the message of the waiting container. `before` is the reason in the
    /// previous status.
    pub(crate) fn status(&mut self, before: Option<&str>, reason: &str, message: &str) {
        if let Some(failure) = pull::runtime_message(reason, message) {
            self.failure = Some(failure.to_owned());
        }
        self.errors += u32::from(reason == "ErrImagePull" && before != Some("ErrImagePull"));
    }

    /// Returns whether there is no proof yet that the registry refused a pull for which the node
    /// had the Secret `own`.
    ///
    /// Longshore creates that Secret before it releases the Job. But a kubelet waits only one
    /// second for a Secret that it does not know
    /// (`pkg/kubelet/util/manager/watch_based_manager.go`, `Get`). It then pulls without the
    /// Secret, and reads it again before the next pull, by default ten seconds later. Meanwhile the
    /// status keeps the message of the first failure, even while the second pull succeeds. So only
    /// the Event of a failed pull that had the Secret counts or, if no Event of a failed pull is
    /// known, a second failure in the status.
    pub(crate) fn may_have_missed(&self, own: &str) -> bool {
        match &self.refused {
            Some(Some(missed)) => missed.split(',').any(|name| name.trim() == own),
            Some(None) => false,
            None => self.errors < 2,
        }
    }
}

/// Returns the names in `Unable to retrieve some image pull secrets (A, B); attempting …`.
fn names(message: &str) -> Option<String> {
    let (_, names) = message.split_once('(')?;
    Some(names.split_once(')')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "longshore-a-1";

    fn miss(history: &mut PullHistory, secrets: &str) {
        let warning = format!("Unable to retrieve some image pull secrets ({secrets}); attempting");
        history.event("FailedToRetrieveImagePullSecret", &warning);
    }

    fn pull(history: &mut PullHistory) {
        history.event("Pulling", "Pulling image \"x\"");
    }

    fn fail(history: &mut PullHistory) {
        history.event("Failed", "Failed to pull image \"x\": no basic auth credentials");
    }

    /// Of 112 concurrent jobs with a login, 11 were killed after they had started: the `Pulling` of
    /// the second pull made the failure of the first one count.
    #[test]
    fn a_second_pull_does_not_make_the_failure_of_the_first_count() {
        let mut history = PullHistory::default();
        miss(&mut history, &format!("team, {OWN}"));
        pull(&mut history);
        fail(&mut history);
        assert!(history.may_have_missed(OWN));
        pull(&mut history);
        assert!(history.may_have_missed(OWN), "the second pull is under way");
        history.status(None, "ErrImagePull", "no basic auth credentials");
        assert!(history.may_have_missed(OWN), "the status still shows the first failure");
        fail(&mut history);
        assert!(!history.may_have_missed(OWN), "refused with the login");
    }

    #[test]
    fn a_secret_that_every_pull_missed_is_never_refused() {
        let mut history = PullHistory::default();
        for _ in 0..3 {
            miss(&mut history, OWN);
            pull(&mut history);
            fail(&mut history);
            assert!(history.may_have_missed(OWN));
        }
    }

    #[test]
    fn another_secret_that_is_missing_excuses_nothing() {
        for secrets in ["team", "longshore-a-10"] {
            let mut history = PullHistory::default();
            miss(&mut history, secrets);
            pull(&mut history);
            fail(&mut history);
            assert!(!history.may_have_missed(OWN));
        }
    }

    #[test]
    fn without_events_a_second_failure_in_the_status_counts() {
        let mut history = PullHistory::default();
        history.status(None, "ErrImagePull", "denied");
        assert!(history.may_have_missed(OWN));
        history.status(Some("ErrImagePull"), "ErrImagePull", "denied");
        history.status(Some("ErrImagePull"), "ImagePullBackOff", "Back-off");
        assert!(history.may_have_missed(OWN));
        history.status(Some("ImagePullBackOff"), "ErrImagePull", "denied");
        assert!(!history.may_have_missed(OWN));
    }
}

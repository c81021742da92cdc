//! What a Pod's Events and container statuses have said about the pull of its image. Pure.

use crate::pull;

/// What has been said about the pull of the image, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PullHistory {
    /// Whether a registry was consulted; `None` without evidence.
    pub(crate) consulted: Option<bool>,
    /// Whether the node pulls now.
    pub(crate) pulling: bool,
    /// The node's words about the last pull that failed; `None` once a pull has succeeded.
    pub(crate) failure: Option<String>,
    /// The node's last warning about pull secrets that it could not read: it pulls without them.
    pub(crate) secrets_warning: Option<String>,
    /// The pull secrets that the node could not read since its last pull began.
    unread: Option<String>,
    /// The pull secrets without which the last pull began.
    missed: Option<String>,
    /// The pull secrets that the pull that failed last did without; `None` without an Event of a
    /// failed pull.
    refused: Option<Option<String>>,
    /// How often the container's status turned to `ErrImagePull`.
    errors: u32,
}

impl PullHistory {
    /// Takes one of the Pod's Events.
    ///
    /// A kubelet reads the pull secrets before each pull and warns about those that it cannot read
    /// (`pkg/kubelet/kubelet_pods.go`, `getPullSecretsForPod`); then it says `Pulling`, and then
    /// how the pull ended. One recorder sends all of them, in this order.
    pub(crate) fn event(&mut self, reason: &str, message: &str) {
        if reason == "FailedToRetrieveImagePullSecret" {
            self.secrets_warning = Some(message.to_owned());
            self.unread = names(message);
        }
        if reason == "Pulling" {
            self.missed = self.unread.take();
        }
        if let Some(consulted) = pull::registry_consulted(reason, message) {
            // A later pull may find the image on the node, but a registry was consulted before.
            self.consulted = Some(self.consulted.unwrap_or_default() || consulted);
            self.pulling = reason == "Pulling";
            if !self.pulling {
                self.failure = None;
            }
        }
        if let Some(failure) = pull::failure(reason, message) {
            self.pulling = false;
            self.failure = Some(failure.to_owned());
            self.refused = Some(self.missed.clone());
        }
    }

    /// Takes the reason and the message of the waiting container; `before` is the reason in the
    /// status before.
    pub(crate) fn status(&mut self, before: Option<&str>, reason: &str, message: &str) {
        if let Some(failure) = pull::failure(reason, message) {
            self.failure = Some(failure.to_owned());
        }
        self.errors += u32::from(reason == "ErrImagePull" && before != Some("ErrImagePull"));
    }

    /// Whether nothing shows yet that the registry refused a pull for which the node had the
    /// Secret `own`.
    ///
    /// Longshore creates that Secret before it releases the Job. But a kubelet waits only a second
    /// for a Secret that it does not know (`pkg/kubelet/util/manager/watch_based_manager.go`,
    /// `Get`), pulls without it, and reads it again before the next pull, by default ten seconds
    /// later. The status keeps the words of the first failure meanwhile, also while the second pull
    /// succeeds. So only the Event of a failed pull that did not miss the Secret counts, or, where
    /// no Event of a failed pull is known, a second failure in the status.
    pub(crate) fn may_have_missed(&self, own: &str) -> bool {
        match &self.refused {
            Some(Some(missed)) => missed.split(',').any(|name| name.trim() == own),
            Some(None) => false,
            None => self.errors < 2,
        }
    }
}

/// The names in `Unable to retrieve some image pull secrets (A, B); attempting …`.
fn names(message: &str) -> Option<String> {
    let (_, names) = message.split_once('(')?;
    Some(names.split_once(')')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "longshore-a-1";

    fn miss(history: &mut PullHistory, secrets: &str) {
        let said = format!("Unable to retrieve some image pull secrets ({secrets}); attempting");
        history.event("FailedToRetrieveImagePullSecret", &said);
    }

    fn pull(history: &mut PullHistory) {
        history.event("Pulling", "Pulling image \"x\"");
    }

    fn fail(history: &mut PullHistory) {
        history.event("Failed", "Failed to pull image \"x\": no basic auth credentials");
    }

    /// Of 112 jobs at once with a login, 11 were killed after they had started: the second pull's
    /// `Pulling` made the first pull's failure count.
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

//! Goes on with a job whose process ended before anything of it had started.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use longshore_core::{Error, ErrorKind, JobSpec, Outcome};
use longshore_journal::{Record, Relaunch};

use crate::Submission;
use crate::credentials::Credentials;
use crate::dispatcher::Dispatcher;
use crate::input::Input;
use crate::secrets;
use crate::standing::{WhenFull, end_of_wait};
use crate::task::JobTask;

impl Submission {
    /// Lets another process go on with the job if this one ends before anything of it has started.
    ///
    /// The other process must [attach](Dispatcher::attach) to the job, as a service does with its
    /// unfinished jobs when it starts. It proves first that no attempt has started and that none can
    /// start any more. It reads the secrets that the spec names again. [`Dispatcher::shutdown`] leaves
    /// such a job to it if the job still waits for a place.
    ///
    /// `submit` refuses the job if it has a stdin, [secrets](Self::secret) or
    /// [logins](Self::registry_auth) that only this process knows, or if the dispatcher's records are
    /// in memory only.
    #[must_use]
    pub const fn relaunch_if_never_started(mut self) -> Self {
        self.relaunch = true;
        self
    }

    /// Returns how another process goes on with the job.
    ///
    /// # Errors
    /// `InvalidSpec` if it cannot.
    pub(crate) fn how_to_relaunch(&self) -> Result<Option<Relaunch>, Error> {
        if !self.relaunch {
            return Ok(None);
        }
        let given = !self.secrets.is_empty() || !self.registry_auths.is_empty();
        if given || !matches!(self.input, Input::Nobody) {
            let message = "a job with a stdin, secrets or logins that only this process knows cannot \
                           be relaunched by another one";
            return Err(Error::new(ErrorKind::InvalidSpec, message));
        }
        let mut how = Relaunch::new(self.priority);
        how.configured_logins = self.policy.as_ref().is_none_or(|policy| policy.service_logins);
        if let Some(WhenFull::Wait(patience)) = self.when_full {
            how.until = Some(Timestamp::now().checked_add(patience).unwrap_or(Timestamp::MAX));
        }
        Ok(Some(how))
    }
}

impl JobTask {
    /// Goes on with a job of which nothing has started and nothing can start, or ends it.
    pub(crate) async fn not_started(mut self, record: &Record, dispatcher: &Dispatcher) {
        let Some(how) = self.relaunch_of(record) else {
            return self.end_without_start(self.interrupted(), None).await;
        };
        match dispatcher.arm(&mut self, record, how).await {
            Ok(()) => {
                tracing::info!("relaunched");
                Box::pin(self.run()).await;
            }
            Err(error) => self.end_without_start(Outcome::refused(&error), None).await,
        }
    }

    /// Returns how to go on with the job, unless it is over.
    pub(crate) fn relaunch_of<'a>(&self, record: &'a Record) -> Option<&'a Relaunch> {
        record.relaunch.as_ref().filter(|_| !self.canceller.token().is_cancelled())
    }
}

impl Dispatcher {
    /// Gives `task` what the process before it had read.
    async fn arm(&self, task: &mut JobTask, record: &Record, how: &Relaunch) -> Result<(), Error> {
        let mut spec = JobSpec::clone(&record.spec);
        let mut candidates = self.prepare(&mut spec)?;
        candidates.retain(|candidate| record.runners.contains(candidate.name()));
        if candidates.is_empty() {
            let message = "none of the runners that it may use is configured any more";
            return Err(Error::new(ErrorKind::InvalidSpec, message));
        }
        task.secret_env = secrets::read(&spec).await?;
        if !how.configured_logins {
            task.credentials = Credentials::default();
        }
        let until = how.until.map(|until| {
            let patience = Duration::try_from(until.duration_since(record.submitted_at));
            let left = Duration::try_from(until.duration_since(Timestamp::now()));
            (end_of_wait(left.unwrap_or_default()), patience.unwrap_or_default())
        });
        task.standing = self.queued(&spec, how.priority, until);
        task.standing.closing = Some(self.closing().clone());
        task.input = Input::Nobody;
        (task.spec, task.candidates) = (Arc::new(spec), candidates);
        task.search.again = !task.search.passed_over.is_empty();
        Ok(())
    }
}

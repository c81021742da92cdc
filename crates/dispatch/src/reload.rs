//! Changes a dispatcher while jobs are in flight: its runners, their order, settings and logins.

use longshore_core::{Error, RunnerName};

use crate::dispatcher::Dispatcher;
use crate::selection;
use crate::{BuildError, DispatcherBuilder};

impl Dispatcher {
    /// Replaces the runners, their order, the settings, the pull policies and the logins by those of
    /// `builder`. The journal, the installation and the observers stay as they are, whatever
    /// `builder` says. If this fails, nothing changes.
    ///
    /// Jobs in flight keep their settings. A job that has started stays on its runner, and is followed
    /// there, even if the runner is no longer configured. A job that has not started goes to the
    /// runners of the same names, and passes over those that are no longer configured. A runner that
    /// stays [cordoned](Self::cordon) stays so; what is known about its health is forgotten. A runner
    /// that was taken out and is back takes new jobs, and its counts include its earlier jobs.
    ///
    /// To keep a runner as it is, give `builder` the same one, from [`runners`](Self::runners).
    ///
    /// # Errors
    /// As [`DispatcherBuilder::build`].
    ///
    /// # Examples
    /// ```
    /// # use std::sync::Arc;
    /// use longshore_core::Runner;
    /// use longshore_dispatch::{BuildError, Dispatcher};
    ///
    /// /// Adds a runner in front of the others.
    /// fn add_first(dispatcher: &Dispatcher, new: Arc<dyn Runner>) -> Result<(), BuildError> {
    ///     let builder = Dispatcher::builder().settings(dispatcher.settings()).runner(new);
    ///     let old = dispatcher.runners();
    ///     dispatcher.reload(old.into_iter().fold(builder, |builder, runner| builder.runner(runner)))
    /// }
    /// ```
    pub fn reload(&self, mut builder: DispatcherBuilder) -> Result<(), BuildError> {
        builder.check()?;
        self.replace_setup(builder);
        Ok(())
    }

    /// Makes a runner take no new jobs. Jobs pass it over as unavailable. Those that have started
    /// there are not affected.
    ///
    /// # Errors
    /// `InvalidSpec` if there is no such runner.
    pub fn cordon(&self, runner: &RunnerName) -> Result<(), Error> {
        self.candidate(runner)?.cordon();
        Ok(())
    }

    /// Lets a [cordoned](Self::cordon) runner take jobs again.
    ///
    /// # Errors
    /// `InvalidSpec` if there is no such runner, or if it is no longer configured.
    pub fn uncordon(&self, runner: &RunnerName) -> Result<(), Error> {
        selection::find(&self.setup().candidates, runner)?.uncordon();
        Ok(())
    }

    /// [Cordons](Self::cordon) a runner, and waits until nothing of a job that this process follows is
    /// on it any more. Ends no job. There is no limit for the wait: it is over when the jobs are.
    ///
    /// Also waits for the last jobs on a runner that a [reload](Self::reload) has taken out.
    ///
    /// # Cancel safety
    /// Cancel safe. The runner stays cordoned.
    ///
    /// # Errors
    /// `InvalidSpec` if there is no such runner.
    pub async fn drain(&self, runner: &RunnerName) -> Result<(), Error> {
        // The candidate is kept only as long as a job needs it.
        let attempts = {
            let candidate = self.candidate(runner)?;
            candidate.cordon();
            candidate.attempts()
        };
        attempts.wait().await;
        Ok(())
    }
}

//! The placeholder `{jobDir}` in arguments.

// No input may cause a panic.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing)
)]

use crate::JobSpec;

/// The placeholder for the job directory in arguments.
const PLACEHOLDER: &str = "{jobDir}";

/// The environment variable that contains the job directory.
const VARIABLE: &str = "LONGSHORE_JOB_DIR";

/// The job directory as the job sees it: `/job` in a container, the real path in a process.
///
/// Fills in `{jobDir}` in arguments and provides the variable `LONGSHORE_JOB_DIR`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobDirectoryView(Option<String>);

impl JobDirectoryView {
    /// The path of the job directory in a container.
    pub const IN_CONTAINER: &'static str = "/job";

    /// Returns the view of a container of `job`.
    #[must_use]
    pub fn in_container(job: &JobSpec) -> Self {
        Self(job.job_directory.as_ref().map(|_| Self::IN_CONTAINER.to_owned()))
    }

    /// Returns the view of a local process of `job`: the directory itself.
    #[must_use]
    pub fn in_process(job: &JobSpec) -> Self {
        Self(job.job_directory.as_ref().map(|path| path.to_string_lossy().into_owned()))
    }

    /// Returns each of `args` with `{jobDir}` filled in.
    ///
    /// Without a job directory it replaces nothing. [`JobSpec::validate`] refuses such a job
    /// earlier.
    #[must_use]
    pub fn expand(&self, args: &[String]) -> Vec<String> {
        let Some(directory) = &self.0 else { return args.to_vec() };
        args.iter().map(|arg| arg.replace(PLACEHOLDER, directory)).collect()
    }

    /// Returns the environment of `job` as the job sees it: `env` and `LONGSHORE_JOB_DIR`, without
    /// secrets.
    #[must_use]
    pub fn env(&self, job: &JobSpec) -> std::collections::BTreeMap<String, String> {
        let mut env = job.env.clone();
        if let Some(directory) = &self.0 {
            env.insert(VARIABLE.to_owned(), directory.clone());
        }
        env
    }
}

/// Returns whether any of `args` contains the placeholder for the job directory.
pub(crate) fn asks_for_job_directory(args: &[String]) -> bool {
    args.iter().any(|arg| arg.contains(PLACEHOLDER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_directory_is_named_as_the_job_sees_it() {
        let mut job = JobSpec::process(["cat", "{jobDir}/input/a", "x={jobDir}"]);
        job.job_directory = Some("/srv/j 1".into());
        let command = &job.process.as_ref().unwrap().command;
        let local = JobDirectoryView::in_process(&job);
        assert_eq!(local.expand(command), ["cat", "/srv/j 1/input/a", "x=/srv/j 1"]);
        assert_eq!(local.env(&job)["LONGSHORE_JOB_DIR"], "/srv/j 1");
        let contained = JobDirectoryView::in_container(&job);
        assert_eq!(contained.expand(command), ["cat", "/job/input/a", "x=/job"]);
        assert_eq!(contained.env(&job)["LONGSHORE_JOB_DIR"], "/job");
    }
}

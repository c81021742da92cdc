//! `{jobDir}` in arguments and values.

use crate::JobSpec;

/// The text that stands for the job directory in arguments.
const PLACEHOLDER: &str = "{jobDir}";

/// The variable that gives the job its directory.
const VARIABLE: &str = "LONGSHORE_JOB_DIR";

/// The job directory as the job sees it: `/job` in a container, the real path in a process.
///
/// Fills in `{jobDir}` in arguments and gives the variable `LONGSHORE_JOB_DIR`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobDirectoryView(Option<String>);

impl JobDirectoryView {
    /// Where a container sees its job directory.
    pub const IN_CONTAINER: &'static str = "/job";

    /// What a container of `job` sees.
    #[must_use]
    pub fn in_container(job: &JobSpec) -> Self {
        Self(job.job_directory.as_ref().map(|_| Self::IN_CONTAINER.to_owned()))
    }

    /// What a local process of `job` sees: the directory itself.
    #[must_use]
    pub fn in_process(job: &JobSpec) -> Self {
        Self(job.job_directory.as_ref().map(|path| path.to_string_lossy().into_owned()))
    }

    /// Each of `args` with `{jobDir}` filled in. Without a job directory nothing is replaced;
    /// [`JobSpec::validate`] has refused such a job before.
    #[must_use]
    pub fn expand(&self, args: &[String]) -> Vec<String> {
        let Some(directory) = &self.0 else { return args.to_vec() };
        args.iter().map(|arg| arg.replace(PLACEHOLDER, directory)).collect()
    }

    /// The environment of `job` as the job sees it: `env` and `LONGSHORE_JOB_DIR`; secrets apart.
    #[must_use]
    pub fn env(&self, job: &JobSpec) -> std::collections::BTreeMap<String, String> {
        let mut env = job.env.clone();
        if let Some(directory) = &self.0 {
            env.insert(VARIABLE.to_owned(), directory.clone());
        }
        env
    }
}

/// Whether any of `args` asks for the job directory.
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

//! Containers that the engine refuses to create or to start.

use std::time::Duration;

use bollard::models::ContainerConfig;
use bollard::query_parameters::{CommitContainerOptionsBuilder, RemoveImageOptions};
use longshore_core::{
    Attempt, Error, ErrorKind, InstallationId, JobId, JobSpec, LaunchContext, LaunchError,
    PullPolicy, RejectReason, Runner, RunnerName, Settled,
};
use longshore_docker::{DockerConfig, DockerRunner};
use tokio::time::Instant;

use super::wire::Wire;
use crate::support::Lab;
use crate::{Checked, PATIENCE, attempt, end, launch};

type Tried<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The refusal of `job`, which must leave nothing behind and come soon.
async fn refusal(lab: &Lab, runner: &DockerRunner, job: JobSpec) -> Tried<Error> {
    let mut attempt = Attempt::new(InstallationId::random(), JobId::random(), 1, job);
    attempt.pull_policy = PullPolicy::IfNotPresent;
    let context = LaunchContext::new(Instant::now() + PATIENCE);
    let begun = Instant::now();
    let launched = runner.launch(&attempt, &context).await;
    let LaunchError::Refused(error) = launched.err().ok_or("it was launched")? else {
        return Err("the launch is indeterminate".into());
    };
    // A take-over waits for three seconds.
    assert!(begun.elapsed() < Duration::from_secs(3), "{error} after {:?}", begun.elapsed());
    assert_eq!(lab.leftovers(&[attempt.installation]).await?, [""; 0]);
    Ok(error)
}

/// Pulls the image, so that the launches after this one do not wait for it.
async fn pull(lab: &Lab) -> Checked {
    let (runner, attempt) = (lab.runner(), attempt(lab, "true"));
    let handle = launch(&runner, &attempt).await?;
    end(&runner, &handle).await?;
    Ok(runner.remove(&handle).await?)
}

const CONFIG: ErrorKind = ErrorKind::Rejected(RejectReason::ContainerConfig);

pub(crate) async fn a_working_directory_that_is_a_file_is_the_jobs_mistake(lab: Lab) -> Checked {
    pull(&lab).await?;
    let mut job = lab.job("true");
    job.container.as_mut().ok_or("no container")?.working_dir = Some("/etc/passwd".to_owned());
    let error = refusal(&lab, &lab.runner(), job).await?;
    assert_eq!(error.kind(), CONFIG, "{error}");
    Ok(())
}

/// The start had what the pull had left of the launch's deadline, 15 minutes by default.
pub(crate) async fn a_start_without_an_answer_is_given_up_after_start_timeout(lab: Lab) -> Checked {
    pull(&lab).await?;
    let wire = Wire::holding("/start")?;
    let (runner, attempt) = (wire.runner(), attempt(&lab, "true"));
    let mut context = LaunchContext::new(Instant::now() + PATIENCE);
    context.start_timeout = Duration::from_secs(2);
    let begun = Instant::now();
    let launched = runner.launch(&attempt, &context).await;
    assert!(matches!(launched, Err(LaunchError::Indeterminate(_))), "{launched:?}");
    assert!(begun.elapsed() < PATIENCE / 2, "{launched:?} after {:?}", begun.elapsed());
    let handle = runner.handle(&attempt);
    let settled = runner.settle(&handle, Instant::now() + PATIENCE).await?;
    assert_eq!(settled, Settled::NeverStarted);
    runner.remove(&handle).await?;
    assert_eq!(lab.leftovers(&[attempt.installation]).await?, [""; 0]);
    Ok(())
}

pub(crate) async fn an_impossible_memory_limit_is_the_jobs_mistake(lab: Lab) -> Checked {
    pull(&lab).await?;
    let mut job = lab.job("true");
    job.resources.limits.memory = Some("64Ki".parse()?);
    let error = refusal(&lab, &lab.runner(), job).await?;
    assert_eq!(error.kind(), CONFIG, "{error}");
    Ok(())
}

pub(crate) async fn a_cpu_limit_beyond_the_engines_cpus_passes_it_over(lab: Lab) -> Checked {
    pull(&lab).await?;
    let mut job = lab.job("true");
    job.resources.limits.cpu = Some("4096".parse()?);
    let error = refusal(&lab, &lab.runner(), job).await?;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    Ok(())
}

pub(crate) async fn a_network_that_does_not_exist_passes_the_runner_over_with_its_name(
    lab: Lab,
) -> Checked {
    pull(&lab).await?;
    for network in ["longshore-no-such-network", "container:longshore-no-such-container"] {
        let mut config = DockerConfig::default();
        config.network = Some(network.to_owned());
        let runner = DockerRunner::new(RunnerName::docker(), config);
        let error = refusal(&lab, &runner, lab.job("true")).await?;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        let name = network.rsplit(':').next().unwrap_or_default();
        assert!(error.to_string().contains(name), "{error}");
    }
    Ok(())
}

/// `USER` in the image names a user that the image does not have.
pub(crate) async fn a_user_that_the_image_does_not_have_is_the_jobs_mistake(lab: Lab) -> Checked {
    let base = attempt(&lab, "true");
    let (runner, handle) = (lab.runner(), launch(&lab.runner(), &base).await?);
    end(&runner, &handle).await?;
    let image = format!("longshore-user-{}:1", JobId::random());
    let options = CommitContainerOptionsBuilder::default()
        .container(&base.object_name())
        .repo(image.trim_end_matches(":1"))
        .tag("1")
        .changes("USER nosuch")
        .build();
    lab.docker.commit_container(options, ContainerConfig::default()).await?;
    runner.remove(&handle).await?;
    let mut job = lab.job("true");
    job.container.as_mut().ok_or("no container")?.image = image.parse()?;
    let error = refusal(&lab, &runner, job).await;
    lab.docker.remove_image(&image, None::<RemoveImageOptions>, None).await?;
    let error = error?;
    assert_eq!(error.kind(), CONFIG, "{error}");
    assert!(error.to_string().contains("nosuch"), "{error}");
    Ok(())
}

pub(crate) async fn a_folder_as_a_command_is_named_once_with_what_is_wrong(lab: Lab) -> Checked {
    pull(&lab).await?;
    for (command, what) in [("/etc", "is a folder"), ("/etc/passwd", "permission to execute")] {
        let mut job = lab.job("true");
        job.container.as_mut().ok_or("no container")?.command = vec![command.to_owned()];
        let error = refusal(&lab, &lab.runner(), job).await?;
        let kind = ErrorKind::Rejected(RejectReason::CommandNotExecutable);
        assert_eq!(error.kind(), kind, "{error}");
        let text = error.to_string();
        assert!(text.contains(what) && text.matches(command).count() == 1, "{text}");
    }
    Ok(())
}

//! A job's container that other clients start again.

use std::collections::HashMap;

use bollard::models::{ContainerUpdateBody, RestartPolicy, RestartPolicyNameEnum};
use bollard::query_parameters::{
    EventsOptionsBuilder, KillContainerOptionsBuilder, RestartContainerOptionsBuilder,
};
use futures::{StreamExt, TryStreamExt};
use longshore_core::{Outcome, Report, Runner};
use tokio::time::timeout;

use super::outside::ready;
use crate::support::Lab;
use crate::{Checked, PATIENCE, attempt, end, launch, output};

/// The first run ends with 3, every later one with 0.
const ONCE_3: &str = "echo ready; test -e /again && exit 0; touch /again; \
                      trap 'exit 3' USR1; while :; do sleep 0.1; done";
const THREE: Outcome = Outcome::Exited { code: 3, signal: None };

/// Waits until the engine has reported `count` ends of the container.
async fn deaths(lab: &Lab, name: &str, count: usize) -> Checked {
    let one = |value: &str| vec![value.to_owned()];
    let filters =
        HashMap::from([("container".to_owned(), one(name)), ("event".to_owned(), one("die"))]);
    let options = EventsOptionsBuilder::default().since("1").filters(&filters).build();
    let events = lab.docker.events(Some(options)).take(count).try_collect::<Vec<_>>();
    timeout(PATIENCE, events).await??;
    Ok(())
}

fn names_the_second_start(report: &Report, name: &str) {
    let again = report.started_again.first().map(String::as_str).unwrap_or_default();
    assert!(again.starts_with(&format!("{name} (start 2 at ")), "{report:?}");
}

pub(crate) async fn a_job_whose_container_docker_restart_ends_is_lost_and_started_again(
    lab: Lab,
) -> Checked {
    let runner = lab.runner();
    let (attempt, handle) = ready(&lab, &runner, "echo ready; exec sleep 600").await?;
    let name = attempt.object_name();
    let restart = RestartContainerOptionsBuilder::default().t(1).build();
    let restart = lab.docker.restart_container(&name, Some(restart));
    let (heard, restarted) = tokio::join!(end(&runner, &handle), restart);
    restarted?;
    // The container runs again, but the job is over.
    let later = end(&lab.runner(), &handle).await?;
    for report in [heard?, later] {
        assert!(matches!(report.outcome, Outcome::Lost { .. }), "{report:?}");
        names_the_second_start(&report, &name);
    }
    runner.remove(&handle).await?;
    assert_eq!(lab.leftovers(&[attempt.installation]).await?, [""; 0]);
    Ok(())
}

pub(crate) async fn a_restart_policy_that_others_set_changes_neither_outcome_nor_output(
    lab: Lab,
) -> Checked {
    let runner = lab.runner();
    let (attempt, handle) = ready(&lab, &runner, ONCE_3).await?;
    let name = attempt.object_name();
    let policy =
        RestartPolicy { name: Some(RestartPolicyNameEnum::ALWAYS), maximum_retry_count: None };
    let body = ContainerUpdateBody { restart_policy: Some(policy), ..Default::default() };
    lab.docker.update_container(&name, body).await?;
    let signal = KillContainerOptionsBuilder::default().signal("USR1").build();
    lab.docker.kill_container(&name, Some(signal)).await?;
    let heard = end(&runner, &handle).await?;
    assert_eq!(output(&runner, &handle).await?, "ready\n");
    let late = lab.runner();
    let later = end(&late, &handle).await?;
    assert_eq!(output(&late, &handle).await?, "ready\n");
    for report in [heard, later] {
        assert_eq!(report.outcome, THREE);
        names_the_second_start(&report, &name);
    }
    runner.remove(&handle).await?;
    assert_eq!(lab.leftovers(&[attempt.installation]).await?, [""; 0]);
    Ok(())
}

pub(crate) async fn a_failed_job_that_others_start_again_is_no_success(lab: Lab) -> Checked {
    let runner = lab.runner();
    let script = "test -e /again && exit 0; touch /again; echo first; exit 3";
    let attempt = attempt(&lab, script);
    let name = attempt.object_name();
    let handle = launch(&runner, &attempt).await?;
    // No process follows the job to its first end.
    drop(runner);
    deaths(&lab, &name, 1).await?;
    lab.docker.start_container(&name, None).await?;
    deaths(&lab, &name, 2).await?;
    let runner = lab.runner();
    let report = end(&runner, &handle).await?;
    assert_eq!(report.outcome, THREE);
    names_the_second_start(&report, &name);
    assert_eq!(output(&runner, &handle).await?, "first\n");
    Ok(runner.remove(&handle).await?)
}

//! Docker's own behaviour, against a real engine: how many requests a job takes, containers that
//! others rename, remove or leave behind, and pulls.
//!
//! Reads `DOCKER_HOST` and `LONGSHORE_LAB_IMAGE`; without them each case is listed as ignored.

mod faults;
mod pulls;
mod support;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder,
};
use faults::attached::*;
use faults::events::*;
use faults::evidence::*;
use faults::output::*;
use faults::outside::*;
use faults::refusals::*;
use faults::restarts::*;
use faults::strangers::*;
use faults::targets::*;
use faults::tls::*;
use futures::{StreamExt, TryStreamExt};
use libtest_mimic::{Arguments, Trial};
use longshore_core::{
    Attempt, Event, Handle, InstallationId, JobId, LaunchContext, LogChunk, LogPosition, Outcome,
    Report, Runner, RunnerName, Secret, SecretSource,
};
use longshore_docker::{DockerConfig, DockerRunner};
use pulls::answers::*;
use pulls::breaks::*;
use pulls::local::*;
use pulls::logins::*;
use pulls::shared::*;
use support::Lab;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

type Checked = Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn attempt(lab: &Lab, script: &str) -> Attempt {
    Attempt::new(InstallationId::random(), JobId::random(), 1, lab.job(script))
}

async fn launch(
    runner: &DockerRunner,
    attempt: &Attempt,
) -> Result<Handle, Box<dyn std::error::Error + Send + Sync>> {
    let context = LaunchContext::new(Instant::now() + PATIENCE);
    Ok(runner.launch(attempt, &context).await?.handle)
}

async fn end(
    runner: &DockerRunner,
    handle: &Handle,
) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
    let mut events = runner.events(handle);
    let last = async {
        while let Some(event) = events.next().await {
            if let Ok(Event::Ended(report)) = event {
                return Some(report);
            }
        }
        None
    };
    Ok(timeout(PATIENCE, last).await?.ok_or("the events ended without an end")?)
}

async fn output(
    runner: &DockerRunner,
    handle: &Handle,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let chunks: Vec<LogChunk> =
        timeout(PATIENCE, runner.logs(handle, LogPosition::START, true).try_collect()).await??;
    let bytes = |chunk: &LogChunk| match chunk {
        LogChunk::Data { bytes, .. } => bytes.to_vec(),
        _ => b"GAP".to_vec(),
    };
    Ok(chunks.iter().map(|c| String::from_utf8_lossy(&bytes(c)).into_owned()).collect())
}

/// Forwards connections to the engine and counts them: the client opens one for each request.
async fn counting_proxy(folder: &tempfile::TempDir) -> std::io::Result<(String, Arc<AtomicU32>)> {
    let engine = std::env::var("DOCKER_HOST").unwrap_or_default();
    let engine = PathBuf::from(engine.trim_start_matches("unix://"));
    let path = folder.path().join("proxy.sock");
    let listener = UnixListener::bind(&path)?;
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let engine = engine.clone();
            tokio::spawn(async move {
                if let Ok(mut server) = UnixStream::connect(engine).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    Ok((format!("unix://{}", path.display()), count))
}

async fn a_job_takes_five_requests_and_one_more_on_an_engine_that_follows_lossily(
    lab: Lab,
) -> Checked {
    let folder = tempfile::tempdir()?;
    let (host, count) = counting_proxy(&folder).await?;
    let mut config = DockerConfig::default();
    config.host = Some(host);
    let runner = DockerRunner::new(RunnerName::docker(), config);
    let mut taken = 0;
    // The first job also negotiates the version, opens the event stream and looks for the command.
    for _ in 0..2 {
        let before = count.load(Ordering::SeqCst);
        let attempt = attempt(&lab, "echo hello");
        let handle = launch(&runner, &attempt).await?;
        let (text, report) = (output(&runner, &handle).await?, end(&runner, &handle).await?);
        runner.remove(&handle).await?;
        taken = count.load(Ordering::SeqCst) - before;
        assert_eq!((text.as_str(), report.outcome.exit_code()), ("hello\n", 0));
        assert!(report.started_at < report.finished_at, "{report:?}");
    }
    let lossy = lab.docker.client_version().minor_version < 42;
    assert!(taken <= 5 + u32::from(lossy), "{taken} requests");
    Ok(())
}

async fn a_renamed_container_is_still_followed_cancelled_and_removed(lab: Lab) -> Checked {
    let attempt = attempt(&lab, "sleep 600");
    let handle = launch(&lab.runner(), &attempt).await?;
    let other = format!("renamed-{}", attempt.id);
    let options = RenameContainerOptionsBuilder::default().name(&other).build();
    lab.docker.rename_container(&attempt.object_name(), options).await?;
    let runner = lab.runner();
    runner.cancel(&handle, Duration::ZERO).await?;
    let outcome = end(&runner, &handle).await?.outcome;
    runner.remove(&handle).await?;
    assert_eq!(outcome, Outcome::Cancelled { code: Some(137) });
    assert_eq!(lab.leftovers(&[attempt.installation]).await?, [""; 0]);
    Ok(())
}

async fn a_container_that_somebody_removes_by_force_is_lost(lab: Lab) -> Checked {
    let attempt = attempt(&lab, "sleep 600");
    let runner = lab.runner();
    let handle = launch(&runner, &attempt).await?;
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    let name = attempt.object_name();
    let remove = lab.docker.remove_container(&name, Some(options));
    let (report, removed) = tokio::join!(end(&runner, &handle), remove);
    removed?;
    let outcome = report?.outcome;
    assert!(matches!(outcome, Outcome::Lost { .. }), "{outcome:?}");
    Ok(())
}

async fn a_launch_takes_over_what_a_dead_one_left_unstarted(lab: Lab) -> Checked {
    let attempt = attempt(&lab, "echo taken over");
    let labels = HashMap::from([
        ("longshore.dev/attempt".to_owned(), attempt.id.to_string()),
        ("longshore.dev/installation".to_owned(), attempt.installation.to_string()),
    ]);
    create(&lab, &attempt.object_name(), labels).await?;
    let runner = lab.runner();
    let handle = launch(&runner, &attempt).await?;
    assert_eq!(output(&runner, &handle).await?, "taken over\n");
    assert!(end(&runner, &handle).await?.outcome.is_success());
    runner.remove(&handle).await?;
    assert_eq!(lab.leftovers(&[attempt.installation]).await?, [""; 0]);
    Ok(())
}

async fn a_name_that_is_taken_by_a_stranger_is_refused_and_left_alone(lab: Lab) -> Checked {
    let attempt = attempt(&lab, "true");
    let name = attempt.object_name();
    create(&lab, &name, HashMap::new()).await?;
    let launched = launch(&lab.runner(), &attempt).await;
    lab.docker.remove_container(&name, None).await?;
    let error = launched.err().ok_or("it was launched")?.to_string();
    assert!(error.contains("is taken"), "{error}");
    Ok(())
}

async fn a_secret_reaches_the_job_and_no_label_or_error(lab: Lab) -> Checked {
    let mut job = lab.job("printf %s \"$TOKEN\"");
    job.secret_env.insert("TOKEN".to_owned(), SecretSource::Env("T".to_owned()));
    let mut attempt = Attempt::new(InstallationId::random(), JobId::random(), 1, job);
    attempt.secret_env.insert("TOKEN".to_owned(), Secret::new("hunter2"));
    let runner = lab.runner();
    let handle = launch(&runner, &attempt).await?;
    let text = output(&runner, &handle).await?;
    let found = lab.docker.inspect_container(&attempt.object_name(), None).await?;
    runner.remove(&handle).await?;
    assert_eq!(text, "hunter2");
    let labels = format!("{:?}", found.config.and_then(|config| config.labels));
    assert!(!labels.contains("hunter2") && !format!("{handle:?}").contains("hunter2"));
    Ok(())
}

/// Creates a container by hand, and does not start it.
async fn create(lab: &Lab, name: &str, labels: HashMap<String, String>) -> Checked {
    // Pulls the image if the engine does not have it.
    let first = attempt(lab, "true");
    let (runner, handle) = (lab.runner(), launch(&lab.runner(), &first).await?);
    end(&runner, &handle).await?;
    runner.remove(&handle).await?;
    let body = ContainerCreateBody {
        image: Some(lab.image.canonical()),
        cmd: Some(vec!["false".to_owned()]),
        labels: Some(labels),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    lab.docker.create_container(Some(options), body).await?;
    Ok(())
}

/// A case on its own runtime.
fn case<F>(name: &str, ready: Option<&str>, run: impl FnOnce(Lab) -> F + Send + 'static) -> Trial
where
    F: Future<Output = Checked>,
{
    let trial = Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async { run(Lab::find().await?).await })?;
        Ok(())
    });
    match ready {
        None => trial,
        Some(reason) => trial.with_kind(format!("unsupported: {reason}")).with_ignored_flag(true),
    }
}

macro_rules! cases {
    ($ready:expr; $($name:ident),* $(,)?) => {
        vec![$(case(stringify!($name), $ready, $name)),*]
    };
}

fn main() -> ExitCode {
    let missing = ["DOCKER_HOST", "LONGSHORE_LAB_IMAGE"]
        .iter()
        .find(|name| std::env::var_os(name).is_none())
        .map(|name| format!("set {name}"));
    let mut trials = cases![missing.as_deref();
        a_job_takes_five_requests_and_one_more_on_an_engine_that_follows_lossily,
        a_renamed_container_is_still_followed_cancelled_and_removed,
        a_container_that_somebody_removes_by_force_is_lost,
        a_launch_takes_over_what_a_dead_one_left_unstarted,
        a_name_that_is_taken_by_a_stranger_is_refused_and_left_alone,
        a_secret_reaches_the_job_and_no_label_or_error,
        a_definite_answer_ends_the_pull_at_the_first_time,
        no_answer_ends_a_pull_at_once_where_another_policy_follows,
        no_answer_is_asked_for_again_until_the_pulls_deadline,
        a_registry_that_comes_back_in_time_is_pulled_from,
        a_silent_registry_is_unreachable_at_the_pulls_deadline,
        a_layer_that_stalls_is_unreachable_after_the_stall_timeout,
        a_stalled_layer_is_asked_for_again,
        a_cancel_in_mid_pull_leaves_nothing_running_in_the_engine,
        an_engine_that_goes_away_in_a_pull_is_unavailable_and_not_asked_again,
        fifty_jobs_of_one_absent_image_at_once_cause_one_pull,
        a_job_without_a_login_never_rides_on_anothers_pull,
        each_job_that_waits_for_a_pull_keeps_its_own_clock,
        a_job_that_may_not_wait_leaves_a_pull_that_others_go_on_with,
        a_password_of_any_characters_reaches_the_registry,
        an_image_is_pulled_from_an_ipv6_address_with_its_login,
        a_tag_that_moves_between_resolve_and_create_changes_nothing,
        an_image_that_was_loaded_or_imported_runs_and_has_no_digest,
        a_multi_architecture_image_has_the_digest_of_its_index,
        an_engine_tells_what_it_has_and_asks_no_registry,
        an_end_while_the_engine_is_away_is_told_when_it_is_back,
        an_end_behind_silent_events_is_noticed_and_the_next_one_at_once,
        a_log_that_ends_tells_of_an_end_that_silent_events_hide,
        an_end_and_output_behind_silent_connections_are_noticed,
        output_that_is_cut_anywhere_goes_on_without_gap_or_repeat,
        the_end_of_long_and_binary_output_is_exact_or_marked,
        attached_output_needs_no_log,
        an_attachment_that_is_cut_anywhere_is_continued_from_the_log,
        an_attachment_that_dies_silently_is_continued_from_the_log,
        output_that_nobody_reads_does_not_hold_the_job_up,
        a_job_that_closes_its_output_early_ends_as_every_other,
        a_working_directory_that_is_a_file_is_the_jobs_mistake,
        an_impossible_memory_limit_is_the_jobs_mistake,
        a_start_without_an_answer_is_given_up_after_start_timeout,
        a_cpu_limit_beyond_the_engines_cpus_passes_it_over,
        a_network_that_does_not_exist_passes_the_runner_over_with_its_name,
        a_user_that_the_image_does_not_have_is_the_jobs_mistake,
        a_folder_as_a_command_is_named_once_with_what_is_wrong,
        a_run_that_its_engine_ends_while_it_comes_up_is_lost,
        a_run_that_another_client_signals_unheard_is_lost,
        a_job_that_docker_stop_ends_is_lost_though_it_exits_with_0,
        a_job_that_a_notifying_signal_reaches_keeps_its_own_code,
        a_job_that_others_pause_rename_and_update_keeps_its_own_code,
        a_job_that_another_client_paused_is_cancelled,
        a_job_whose_container_docker_restart_ends_is_lost_and_started_again,
        a_restart_policy_that_others_set_changes_neither_outcome_nor_output,
        a_failed_job_that_others_start_again_is_no_success,
        a_container_with_forged_labels_is_neither_followed_nor_adopted_nor_removed,
        a_renamed_container_whose_labels_a_stranger_has_is_the_one_that_is_removed,
        a_stranger_with_the_attempts_name_is_not_removed,
        a_start_whose_answer_is_refused_is_no_refused_start,
        a_container_that_others_removed_has_started,
        a_start_of_others_that_fails_does_not_change_the_outcome,
        a_job_runs_on_an_engine_that_demands_a_certificate,
        certificates_that_do_not_suit_are_named,
    ];
    // On that engine itself, the same cases would ask one engine about itself.
    let there =
        std::env::var_os(OTHER).filter(|it| Some(it) != std::env::var_os("DOCKER_HOST").as_ref());
    let missing =
        missing.or_else(|| there.is_none().then(|| format!("set {OTHER} to another engine")));
    trials.extend(cases![missing.as_deref();
        a_job_is_not_asked_for_on_an_engine_where_it_never_was,
        the_events_of_a_job_on_another_engine_have_no_end,
        an_attempt_is_not_launched_on_another_engine_than_recorded,
    ]);
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

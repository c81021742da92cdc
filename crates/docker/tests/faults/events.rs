//! The events of the engine, cut or silent while a job ends.

use std::io::Write;
use std::time::Duration;

use bollard::query_parameters::KillContainerOptionsBuilder;
use futures::StreamExt;
use longshore_core::{LogPosition, Outcome, Report, Runner};
use tokio::time::{Instant, sleep, timeout};

use super::wire::Wire;
use crate::support::Lab;
use crate::{Checked, PATIENCE, attempt, end, launch, output};

const SEVEN: Outcome = Outcome::Exited { code: 7, signal: None };

/// Prints how long after `since` the end was known, which must be within `limit`.
fn known(what: &str, report: &Report, since: Instant, limit: Duration) -> Checked {
    let after = since.elapsed();
    writeln!(std::io::stdout(), "docker: {what}: the end known after {after:.1?}")?;
    assert_eq!(report.outcome, SEVEN, "{what}");
    assert!(after <= limit, "{what}: the end was known only after {after:.1?}");
    Ok(())
}

/// When a job that sleeps for `seconds` ends, if it starts now.
fn over_in(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

pub(crate) async fn an_end_while_the_engine_is_away_is_told_when_it_is_back(lab: Lab) -> Checked {
    let wire = Wire::plain()?;
    let runner = wire.runner();
    let handle = launch(&runner, &attempt(&lab, "echo begun; sleep 2; echo over; exit 7")).await?;
    let away = async {
        sleep(Duration::from_secs(1)).await;
        wire.take_away()?;
        sleep(Duration::from_secs(4)).await;
        wire.put_back()?;
        std::io::Result::Ok(Instant::now())
    };
    let (report, text, back) =
        tokio::join!(end(&runner, &handle), patient_output(&runner, &handle), away);
    known("an engine that is back", &report?, back?, Duration::from_secs(8))?;
    assert_eq!(text?, "begun\nover\n");
    Ok(runner.remove(&handle).await?)
}

pub(crate) async fn an_end_behind_silent_events_is_noticed_and_the_next_one_at_once(
    lab: Lab,
) -> Checked {
    let wire = Wire::plain()?;
    let runner = wire.runner();
    let (short, long) = (attempt(&lab, "sleep 7; exit 7"), attempt(&lab, "sleep 31; exit 7"));
    let second = launch(&runner, &long).await?;
    let second_over = over_in(31);
    let first = launch(&runner, &short).await?;
    let first_over = over_in(7);
    // The first comparison with a listing has passed by then.
    sleep(Duration::from_secs(6)).await;
    wire.freeze("/events");
    let report = end(&runner, &first).await?;
    known("silent events", &report, first_over, Duration::from_secs(22))?;
    let report = end(&runner, &second).await?;
    known("the events after silent ones", &report, second_over, Duration::from_secs(1))?;
    runner.remove(&first).await?;
    Ok(runner.remove(&second).await?)
}

pub(crate) async fn a_log_that_ends_tells_of_an_end_that_silent_events_hide(lab: Lab) -> Checked {
    let wire = Wire::plain()?;
    let runner = wire.runner();
    let handle = launch(&runner, &attempt(&lab, "echo begun; sleep 3; exit 7")).await?;
    let over = over_in(3);
    wire.freeze("/events");
    let (report, text) = tokio::join!(end(&runner, &handle), output(&runner, &handle));
    known("silent events and a log that ends", &report?, over, Duration::from_secs(5))?;
    assert_eq!(text?, "begun\n");
    Ok(runner.remove(&handle).await?)
}

pub(crate) async fn an_end_and_output_behind_silent_connections_are_noticed(lab: Lab) -> Checked {
    let wire = Wire::plain()?;
    let runner = wire.runner();
    let handle = launch(&runner, &attempt(&lab, "echo begun; sleep 7; echo over; exit 7")).await?;
    let over = over_in(7);
    let ended = async {
        let report = end(&runner, &handle).await?;
        known("all connections silent", &report, over, Duration::from_secs(22))
    };
    let freeze = async {
        // By then the log is being read, and the first comparison has passed.
        sleep(Duration::from_secs(6)).await;
        wire.freeze("");
    };
    let (ended, text, ()) = tokio::join!(ended, patient_output(&runner, &handle), freeze);
    ended?;
    assert_eq!(text?, "begun\nover\n");
    let whole = over.elapsed();
    writeln!(std::io::stdout(), "docker: all connections silent: all output after {whole:.1?}")?;
    assert!(whole < Duration::from_secs(30), "all output was there only after {whole:?}");
    Ok(runner.remove(&handle).await?)
}

/// The outcome of a job that exits with 0 after the engine sent it TERM while no process listened.
async fn signalled_unheard(
    lab: &Lab,
    restarted: bool,
) -> Result<Outcome, Box<dyn std::error::Error + Send + Sync>> {
    let wire = Wire::plain()?;
    let runner = wire.runner();
    let attempt = attempt(lab, "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done");
    let handle = launch(&runner, &attempt).await?;
    let mut logs = runner.logs(&handle, LogPosition::START, true);
    // The trap is set by then.
    timeout(PATIENCE, logs.next()).await?.ok_or("no output")??;
    drop(logs);
    let fault = async {
        wire.take_away()?;
        let term = KillContainerOptionsBuilder::default().signal("TERM").build();
        lab.docker.kill_container(&attempt.object_name(), Some(term)).await?;
        let mut ended = lab.docker.wait_container(&attempt.object_name(), None);
        timeout(PATIENCE, ended.next()).await?.ok_or("no end")??;
        if restarted {
            wire.seem_restarted();
        }
        wire.put_back()?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    let (report, fault) = tokio::join!(end(&runner, &handle), fault);
    fault?;
    // A later follower reports the same.
    let later = end(&wire.runner(), &handle).await?.outcome;
    let outcome = report?.outcome;
    let same = matches!(later, Outcome::Lost { .. }) == matches!(outcome, Outcome::Lost { .. });
    assert!(same, "{outcome:?}, and later {later:?}");
    runner.remove(&handle).await?;
    Ok(outcome)
}

/// An engine that was killed sends this signal if it finds a running container when it comes up.
pub(crate) async fn a_run_that_its_engine_ends_while_it_comes_up_is_lost(lab: Lab) -> Checked {
    let outcome = signalled_unheard(&lab, true).await?;
    assert!(matches!(outcome, Outcome::Lost { .. }), "{outcome:?}");
    Ok(())
}

pub(crate) async fn a_run_that_another_client_signals_unheard_is_lost(lab: Lab) -> Checked {
    let outcome = signalled_unheard(&lab, false).await?;
    assert!(outcome.to_string().contains("signal 15"), "{outcome:?}");
    Ok(())
}

/// All output; errors are hints, and the stream continues.
async fn patient_output(
    runner: &longshore_docker::DockerRunner,
    handle: &longshore_core::Handle,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    Ok(String::from_utf8(super::output::all(runner, handle).await?)?)
}

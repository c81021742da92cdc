//! Faults between Longshore and the API server while a job runs.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use hyper::StatusCode;
use longshore_core::{Outcome, Report};
use parking_lot::{Mutex, MutexGuard};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::layer::{Fate, Layer, is_watch};
use crate::proxy::Proxy;
use crate::toxiproxy::Toxic;
use crate::{Body, Case, Checked, api_server, check, end, launch, output, reaching};

/// The cases.
pub(crate) fn cases() -> Vec<(&'static str, Body)> {
    vec![
        ("a_cut_connection_loses_neither_the_end_nor_output", |c| {
            a_cut_connection_loses_neither_the_end_nor_output(c).boxed()
        }),
        ("a_watch_whose_version_is_gone_begins_anew", |c| {
            a_watch_whose_version_is_gone_begins_anew(c).boxed()
        }),
        ("a_watch_that_is_cut_anywhere_misses_nothing", |c| {
            a_watch_that_is_cut_anywhere_misses_nothing(c).boxed()
        }),
        ("connections_that_are_cut_after_some_bytes_lose_nothing", |c| {
            connections_that_are_cut_after_some_bytes_lose_nothing(c).boxed()
        }),
        ("a_connection_that_died_without_a_word_is_given_up", |c| {
            a_connection_that_died_without_a_word_is_given_up(c).boxed()
        }),
        ("a_log_that_ends_tells_of_an_end_that_a_silent_watch_hides", |c| {
            a_log_that_ends_tells_of_an_end_that_a_silent_watch_hides(c).boxed()
        }),
        ("an_end_while_the_api_server_is_away_is_told_when_it_is_back", |c| {
            an_end_while_the_api_server_is_away_is_told_when_it_is_back(c).boxed()
        }),
        ("a_log_that_is_cut_anywhere_goes_on_without_gap_or_repeat", |c| {
            a_log_that_is_cut_anywhere_goes_on_without_gap_or_repeat(c).boxed()
        }),
        ("a_log_that_ends_before_its_job_is_read_on", |c| {
            a_log_that_ends_before_its_job_is_read_on(c).boxed()
        }),
        ("a_log_that_breaks_while_its_place_is_searched_goes_on_without_gap_or_repeat", |c| {
            a_log_that_breaks_while_its_place_is_searched_goes_on_without_gap_or_repeat(c).boxed()
        }),
        ("a_kubelet_that_does_not_know_its_pod_yet_leaves_no_gap", |c| {
            a_kubelet_that_does_not_know_its_pod_yet_leaves_no_gap(c).boxed()
        }),
    ]
}

pub(crate) const SEVEN: Outcome = Outcome::Exited { code: 7, signal: None };

pub(crate) fn is(report: &Report, expected: &Outcome) -> Checked {
    check(report.outcome == *expected, || format!("{:?}", report.outcome))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

/// Prints how long after `since` the end was known, which must be within `limit`.
fn known(what: &str, since: Instant, limit: Duration) -> Checked {
    let after = since.elapsed();
    writeln!(std::io::stdout(), "kubernetes: {what}: the end known after {after:.1?}")?;
    check(after <= limit, || format!("{what}: the end was known only after {after:.1?}"))
}

/// Returns what the API server answers to a watch whose version is too old.
fn gone() -> String {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired",
        "message": "too old resource version: 1 (2)", "code": 410,
    });
    status.to_string()
}

/// How the server reports to a watch that its version is too old. The API server does both,
/// depending on where it detects this. Neither can be triggered at will, so the layer answers in
/// its place.
#[derive(Clone, Copy, Debug)]
enum Gone {
    /// By the status of the answer.
    Status,
    /// By an event.
    Event,
}

impl Gone {
    fn fate(self) -> Fate {
        match self {
            Self::Status => Fate::Answer(StatusCode::GONE, gone()),
            Self::Event => Fate::Answer(
                StatusCode::OK,
                format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", gone()),
            ),
        }
    }
}

async fn a_watch_whose_version_is_gone_begins_anew(case: Arc<Case>) -> Checked {
    for how in [Gone::Status, Gone::Event] {
        // Set once the job runs. Maps a path to whether a list has been requested since.
        let listed: Arc<Mutex<Option<HashMap<String, bool>>>> = Arc::default();
        let seen = listed.clone();
        let (watches, mut begun) = watch::channel(HashSet::new());
        let layer = Layer::start(case.lab.client.clone(), move |uri| {
            let mut listed = locked(&seen);
            watches.send_modify(|paths| {
                paths.extend(Some(uri.path().to_owned()).filter(|_| is_watch(uri)));
            });
            let Some(listed) = listed.as_mut() else { return Fate::Pass };
            let anew = listed.entry(uri.path().to_owned()).or_default();
            *anew |= !is_watch(uri);
            if *anew { Fate::Pass } else { how.fate() }
        })
        .await?;
        let (runner, _file) = layer.runner(&case.lab)?;
        let started = launch(&runner, &case.script("sleep 9; exit 7")).await?;
        let over = Instant::now() + Duration::from_secs(9);
        // That on Jobs begins some seconds after the start.
        begun.wait_for(|paths| paths.len() == 3).await?;
        *locked(&listed) = Some(HashMap::new());
        // Again and again: an answer that begins only now would go on.
        let severing = async {
            loop {
                layer.sever();
                sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::select! {
            report = end(&runner, &started.handle) => is(&report?, &SEVEN)?,
            () = severing => {}
        }
        known(&format!("a version that is gone ({how:?})"), over, Duration::from_secs(8))?;
        let listed = locked(&listed).take().unwrap_or_default();
        for kind in ["/jobs", "/pods", "/events"] {
            let anew = listed.iter().any(|(path, anew)| path.ends_with(kind) && *anew);
            check(anew, || format!("{kind}: no watch began anew with a list: {listed:?}"))?;
        }
    }
    Ok(())
}

async fn a_watch_that_is_cut_anywhere_misses_nothing(case: Arc<Case>) -> Checked {
    // Before an event, within its beginning, in the middle of it, and between two events.
    const CUTS: [usize; 12] = [0, 1, 20, 300, 1500, 4000, 6000, 1, 9000, 100, 5000, 700];
    let asked: Mutex<HashMap<String, usize>> = Mutex::default();
    let layer = Layer::start(case.lab.client.clone(), move |uri| {
        if !is_watch(uri) {
            return Fate::Pass;
        }
        let mut asked = locked(&asked);
        let count = asked.entry(uri.path().to_owned()).or_default();
        *count += 1;
        match CUTS.get(*count - 1) {
            Some(after) => Fate::Cut { after: *after, cleanly: count.is_multiple_of(2) },
            None => Fate::Pass,
        }
    })
    .await?;
    let (runner, _file) = layer.runner(&case.lab)?;
    for _ in 0..3 {
        let started = launch(&runner, &case.script("echo begun; sleep 1; exit 7")).await?;
        let over = Instant::now() + Duration::from_secs(1);
        let (report, output) =
            tokio::join!(end(&runner, &started.handle), output(&runner, &started.handle));
        is(&report?, &SEVEN)?;
        check(output? == b"begun\n", || "other output".to_owned())?;
        known("watches that are cut anywhere", over, Duration::from_secs(8))?;
    }
    Ok(())
}

async fn a_cut_connection_loses_neither_the_end_nor_output(case: Arc<Case>) -> Checked {
    let proxy = Proxy::to(api_server().await?).await?;
    let (runner, _file) = reaching(&case.lab, &proxy.address)?;
    let attempt = case.script("for n in $(seq 1 60); do echo $n; sleep 0.1; done; exit 7");
    let started = launch(&runner, &attempt).await?;
    let faults = async {
        for _ in 0..2 {
            sleep(Duration::from_millis(1500)).await;
            proxy.cut();
            sleep(Duration::from_millis(700)).await;
            proxy.mend();
        }
    };
    let (report, output, ()) =
        tokio::join!(end(&runner, &started.handle), output(&runner, &started.handle), faults);
    let expected: String = (1..=60).map(|n| format!("{n}\n")).collect();
    check(output? == expected.as_bytes(), || "other output".to_owned())?;
    let outcome = report?.outcome;
    check(outcome == Outcome::Exited { code: 7, signal: None }, || format!("{outcome:?}"))
}

async fn connections_that_are_cut_after_some_bytes_lose_nothing(case: Arc<Case>) -> Checked {
    let name = format!("longshore-{}", case.installation);
    let toxic = Toxic::new(&name, &api_server().await?).await?;
    let (runner, _file) = reaching(&case.lab, &toxic.address)?;
    let script = "for n in $(seq 1 50); do echo $n; sleep 0.1; done; exit 7";
    let started = launch(&runner, &case.script(script)).await?;
    let faults = async {
        // Enough for a TLS handshake and some events.
        toxic.cut_after(9_000).await?;
        sleep(Duration::from_secs(4)).await;
        toxic.cut_no_more().await
    };
    let (report, output, faults) =
        tokio::join!(end(&runner, &started.handle), output(&runner, &started.handle), faults);
    toxic.remove().await?;
    faults?;
    is(&report?, &SEVEN)?;
    let expected: String = (1..=50).map(|n| format!("{n}\n")).collect();
    check(output? == expected.as_bytes(), || "other output".to_owned())
}

async fn a_connection_that_died_without_a_word_is_given_up(case: Arc<Case>) -> Checked {
    let proxy = Proxy::to(api_server().await?).await?;
    let (runner, _file) = reaching(&case.lab, &proxy.address)?;
    let started = launch(&runner, &case.script("echo begun; sleep 3; echo over; exit 7")).await?;
    let over = Instant::now() + Duration::from_secs(3);
    let ended = async {
        let report = end(&runner, &started.handle).await;
        known("all connections silent", over, Duration::from_secs(38))?;
        report
    };
    let output = output(&runner, &started.handle);
    let freeze = async {
        // The runner reads the log by then.
        sleep(Duration::from_secs(1)).await;
        proxy.freeze();
    };
    let (report, output, ()) = tokio::join!(ended, output, freeze);
    is(&report?, &SEVEN)?;
    check(output? == b"begun\nover\n", || "other output".to_owned())?;
    known("all connections silent, with its output", over, Duration::from_secs(46))
}

async fn a_log_that_ends_tells_of_an_end_that_a_silent_watch_hides(case: Arc<Case>) -> Checked {
    let layer = Layer::start(case.lab.client.clone(), |_| Fate::Pass).await?;
    let (runner, _file) = layer.runner(&case.lab)?;
    let started = launch(&runner, &case.script("echo begun; sleep 3; exit 7")).await?;
    let over = Instant::now() + Duration::from_secs(3);
    layer.silence_watches();
    let (report, output) =
        tokio::join!(end(&runner, &started.handle), output(&runner, &started.handle));
    is(&report?, &SEVEN)?;
    check(output? == b"begun\n", || "other output".to_owned())?;
    known("silent watches and a log that ends", over, Duration::from_secs(12))
}

async fn an_end_while_the_api_server_is_away_is_told_when_it_is_back(case: Arc<Case>) -> Checked {
    let name = format!("longshore-{}", case.installation);
    let toxic = Toxic::new(&name, &api_server().await?).await?;
    let (runner, _file) = reaching(&case.lab, &toxic.address)?;
    let started = launch(&runner, &case.script("echo begun; sleep 3; echo over; exit 7")).await?;
    let outage = async {
        toxic.enable(false).await?;
        sleep(Duration::from_secs(6)).await;
        toxic.enable(true).await?;
        Checked::Ok(Instant::now())
    };
    let (report, output, back) =
        tokio::join!(end(&runner, &started.handle), output(&runner, &started.handle), outage);
    toxic.remove().await?;
    is(&report?, &SEVEN)?;
    check(output? == b"begun\nover\n", || "other output".to_owned())?;
    known("an API server that is back", back?, Duration::from_secs(12))
}

/// Returns the output of a job whose log is cut: lines with multi-byte characters, and a long one.
fn wide(lines: usize) -> String {
    let short: String = (1..=lines).map(|n| format!("{n} grüße €😀\n")).collect();
    format!("{short}{}\n", "ab€😀".repeat(20_000))
}

async fn a_log_that_is_cut_anywhere_goes_on_without_gap_or_repeat(case: Arc<Case>) -> Checked {
    // Of four consecutive bytes within the long line, at least one is within a character.
    const CUTS: [(usize, bool); 11] = [
        (0, false),
        (10, false),
        (35, true),
        (5_000, false),
        (90_000, false),
        (90_001, false),
        (90_002, true),
        (90_003, false),
        (200_000, false),
        (200_001, false),
        (230_000, false),
    ];
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let layer = Layer::start(case.lab.client.clone(), move |uri| {
        if !uri.path().ends_with("/log") {
            return Fate::Pass;
        }
        match CUTS.get(count.fetch_add(1, Ordering::SeqCst)) {
            Some((after, cleanly)) => Fate::Cut { after: *after, cleanly: *cleanly },
            None => Fate::Pass,
        }
    })
    .await?;
    let (runner, _file) = layer.runner(&case.lab)?;
    let write = "awk 'BEGIN{for(i=1;i<=1000;i++)print i \" grüße €😀\"; \
                 for(i=0;i<20000;i++)printf \"ab€😀\"; print \"\"}'";
    let script = format!("{write}; sleep 8; {write}; exit 7");
    let started = launch(&runner, &case.script(&script)).await?;
    let (report, output) =
        tokio::join!(end(&runner, &started.handle), output(&runner, &started.handle));
    is(&report?, &SEVEN)?;
    let (output, expected) = (output?, wide(1000).repeat(2));
    let same = output.iter().zip(expected.as_bytes()).take_while(|(a, b)| a == b).count();
    check(output == expected.as_bytes(), || {
        format!(
            "{} bytes, {} expected, the first {same} as they should",
            output.len(),
            expected.len()
        )
    })?;
    let asked = asked.load(Ordering::SeqCst);
    check(asked > CUTS.len(), || format!("cut only {asked} times"))
}

/// A kubelet that goes away has this effect: the API server ends the log as if it were complete.
async fn a_log_that_ends_before_its_job_is_read_on(case: Arc<Case>) -> Checked {
    let asked = AtomicUsize::new(0);
    let layer = Layer::start(case.lab.client.clone(), move |uri| {
        let first = uri.path().ends_with("/log") && asked.fetch_add(1, Ordering::SeqCst) == 0;
        // The length of a time and the first line.
        if first { Fate::Cut { after: 37, cleanly: true } } else { Fate::Pass }
    })
    .await?;
    let (runner, _file) = layer.runner(&case.lab)?;
    let script = "echo first; sleep 2; echo second; exit 7";
    let started = launch(&runner, &case.script(script)).await?;
    let (report, output) =
        tokio::join!(end(&runner, &started.handle), output(&runner, &started.handle));
    is(&report?, &SEVEN)?;
    let output = output?;
    check(output == b"first\nsecond\n", || format!("{:?}", String::from_utf8_lossy(&output)))
}

/// The part that had arrived was taken for all of the file, so the place in it was not found.
async fn a_log_that_breaks_while_its_place_is_searched_goes_on_without_gap_or_repeat(
    case: Arc<Case>,
) -> Checked {
    const READ: Fate = Fate::Cut { after: 90_000, cleanly: false };
    // Shorter than what was read, as if the kubelet had rotated the file.
    const SHORT: Fate = Fate::Cut { after: 5_000, cleanly: true };
    const BROKEN: Fate = Fate::Cut { after: 5_000, cleanly: false };
    for fates in [[READ, SHORT, BROKEN], [READ, SHORT, SHORT]] {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let layer = Layer::start(case.lab.client.clone(), move |uri| {
            if !uri.path().ends_with("/log") {
                return Fate::Pass;
            }
            fates.get(count.fetch_add(1, Ordering::SeqCst)).cloned().unwrap_or(Fate::Pass)
        })
        .await?;
        let (runner, _file) = layer.runner(&case.lab)?;
        let started = launch(&runner, &case.script("seq 1 30000; exit 7")).await?;
        is(&end(&runner, &started.handle).await?, &SEVEN)?;
        let output = output(&runner, &started.handle).await?;
        let expected: String = (1..=30_000).map(|n| format!("{n}\n")).collect();
        check(output == expected.as_bytes(), || format!("{} bytes", output.len()))?;
        let asked = asked.load(Ordering::SeqCst);
        check(asked > 3, || format!("asked only {asked} times"))?;
    }
    Ok(())
}

/// Its answer was taken for that of the API server, and ended the output with a gap.
async fn a_kubelet_that_does_not_know_its_pod_yet_leaves_no_gap(case: Arc<Case>) -> Checked {
    let asked = AtomicUsize::new(0);
    let layer = Layer::start(case.lab.client.clone(), move |uri| {
        let first = uri.path().ends_with("/log") && asked.fetch_add(1, Ordering::SeqCst) == 0;
        // What the API server makes of a kubelet's `pod "…" does not exist`.
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
            "message": "the server could not find the requested resource ( pods/log p)", "code": 404,
        });
        if first { Fate::Answer(StatusCode::NOT_FOUND, status.to_string()) } else { Fate::Pass }
    })
    .await?;
    let (runner, _file) = layer.runner(&case.lab)?;
    let started = launch(&runner, &case.script("echo first; exit 7")).await?;
    let (report, output) =
        tokio::join!(end(&runner, &started.handle), output(&runner, &started.handle));
    is(&report?, &SEVEN)?;
    check(output? == b"first\n", || "other output".to_owned())
}

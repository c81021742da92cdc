//! The supervisor processes.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use longshore_core::{InstallationId, Outcome, Runner};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt;

use crate::support::{
    Bench, children_of, line_in, other_process, processes_with, shell, stat, until,
    with_a_program_that,
};

pub async fn a_job_outlives_the_command_that_launched_it() {
    let bench = Bench::new();
    let attempt = bench.attempt(shell("unused"));
    let gate = bench.folder.path().join("gate");
    let script = format!("while ! test -e {}; do sleep 0.01; done; exit 42", gate.display());
    let mut command = other_process(bench.folder.path(), &attempt, &script);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "started\n");
    child.kill().unwrap();
    child.wait().unwrap();
    let adopted = bench.runner.adopt(&bench.installation).await.unwrap();
    assert_eq!(adopted, [bench.runner.handle(&attempt)]);
    std::fs::write(gate, "").unwrap();
    let outcome = bench.end(&adopted[0]).await.outcome;
    assert_eq!(outcome, Outcome::Exited { code: 42, signal: None });
}

/// Runs a job that writes its parent's pid. Returns that pid, which is the supervisor's.
async fn supervisor_of_next(bench: &Bench) -> i32 {
    bench.stdout("echo $PPID").await.trim().parse().unwrap()
}

pub async fn a_supervisor_is_reused() {
    let bench = Bench::new();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        seen.insert(supervisor_of_next(&bench).await);
    }
    assert!(seen.len() <= 3, "{seen:?}");
}

pub async fn idle_supervisors_end() {
    let bench = Bench::with(|config| config.idle_timeout = "100ms".parse().unwrap());
    let supervisor = supervisor_of_next(&bench).await;
    until("the supervisor is gone and reaped", || stat(supervisor).is_none()).await;
    let next = supervisor_of_next(&bench).await;
    until("the next one too", || stat(next).is_none()).await;
}

pub async fn the_supervisor_of_a_job_that_goes_on_gives_back_the_pages_of_its_start() {
    let bench = Bench::new();
    let pid = bench.folder.path().join("pid");
    let script = format!("echo $PPID > {}; read line; echo $line; exit 3", pid.display());
    let mut spec = shell(&script);
    spec.stdin = true;
    let handle = bench.start(spec).await;
    let supervisor: i32 = line_in(&pid).await.parse().unwrap();
    // The resident memory, and the most that it has ever been.
    let [now, most] = ["VmRSS:", "VmHWM:"].map(|name| {
        move || {
            let status = std::fs::read_to_string(format!("/proc/{supervisor}/status")).unwrap();
            let size = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            size.trim().strip_suffix(" kB").unwrap().parse::<u32>().unwrap()
        }
    });
    until("it has far fewer pages", || now() * 4 < most() * 3).await;
    let mut stdin = bench.runner.stdin(&handle).await.unwrap();
    stdin.write_all(b"hello\n").await.unwrap();
    drop(stdin);
    assert_eq!(bench.end(&handle).await.outcome, Outcome::Exited { code: 3, signal: None });
    assert_eq!(bench.output(&handle).await.0, b"hello\n");
}

pub async fn a_dropped_runner_leaves_no_supervisor() {
    let bench = Bench::new();
    let pid = bench.folder.path().join("pid");
    let script = format!("echo $PPID > {}; sleep 0.2", pid.display());
    bench.start(shell(&script)).await;
    let supervisor: i32 = line_in(&pid).await.parse().unwrap();
    let Bench { folder, runner, .. } = bench;
    drop(runner);
    until("the supervisor is gone and reaped", || stat(supervisor).is_none()).await;
    drop(folder);
}

pub async fn descriptors_are_not_leaked() {
    // A separate process: the other cases open and close descriptors meanwhile.
    let bench = Bench::new();
    let supervisor = supervisor_of_next(&bench).await;
    let open = || std::fs::read_dir(format!("/proc/{supervisor}/fd")).map(Iterator::count).ok();
    // The supervisor may not have closed the first job's pipes yet.
    let before = open();
    let mut reused = 0;
    for _ in 0..20 {
        reused += i32::from(supervisor_of_next(&bench).await == supervisor);
    }
    assert!(reused > 0, "it had another job");
    until("no more descriptors than before", || open() <= before).await;
    assert!(children_of(supervisor).is_empty());
}

pub async fn a_stopped_supervisor_obeys_a_cancel() {
    let bench = Bench::new();
    let pid = bench.folder.path().join("pid");
    let handle = bench.start(shell(&format!("echo $PPID > {}; sleep 1000", pid.display()))).await;
    let supervisor: i32 = line_in(&pid).await.parse().unwrap();
    kill_process(Pid::from_raw(supervisor).unwrap(), Signal::STOP).unwrap();
    until("it is stopped", || stat(supervisor).is_some_and(|(state, _)| state == 'T')).await;
    bench.runner.cancel(&handle, Duration::ZERO).await.unwrap();
    assert_eq!(bench.end(&handle).await.outcome.kind(), "Cancelled");
}

pub async fn a_stopped_supervisor_enforces_the_timeout_of_a_job_that_is_followed() {
    let bench = Bench::new();
    let pid = bench.folder.path().join("pid");
    let mut spec = shell(&format!("echo $PPID > {}; sleep 1000", pid.display()));
    spec.timeout = Some("500ms".parse().unwrap());
    let handle = bench.start(spec).await;
    let supervisor: i32 = line_in(&pid).await.parse().unwrap();
    kill_process(Pid::from_raw(supervisor).unwrap(), Signal::STOP).unwrap();
    until("it is stopped", || stat(supervisor).is_some_and(|(state, _)| state == 'T')).await;
    // Seen from another runner, as by a later command.
    let outcome = crate::support::end(&bench.again(), &handle).await.outcome;
    assert_eq!(outcome, Outcome::DeadlineExceeded { code: Some(143) });
}

/// Exchanges the supervisor in the record of `attempt` for the process `pid`.
fn exchange_supervisor(bench: &Bench, attempt: &longshore_core::Attempt, pid: u32) {
    let path = bench.directory(attempt).join("record.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().find(|line| line.contains("starting")).unwrap();
    let mut starting: serde_json::Value = serde_json::from_str(line).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace();
    let start_time: u64 = fields.into_iter().nth(19).unwrap().parse().unwrap();
    starting["starting"]["supervisor"]["pid"] = pid.into();
    starting["starting"]["supervisor"]["startTime"] = start_time.into();
    std::fs::write(&path, text.replace(line, &starting.to_string())).unwrap();
}

pub async fn a_supervisor_that_is_stopped_again_and_again_is_killed_and_its_job_ended() {
    let bench = Bench::new();
    let pid = bench.folder.path().join("pid");
    let mut spec = shell(&format!("echo $PPID $$ > {}; sleep 1000", pid.display()));
    spec.timeout = Some("1h".parse().unwrap());
    let attempt = bench.attempt(spec);
    let handle = bench.launch(&attempt).await.unwrap().handle;
    let line = line_in(&pid).await;
    let (supervisor, job) = line.split_once(' ').unwrap();
    let (supervisor, job): (i32, i32) = (supervisor.parse().unwrap(), job.parse().unwrap());
    // In its place, a process that stops itself whenever it is continued.
    let script = "trap '' USR1; while :; do kill -STOP $$; done";
    let mut stubborn = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
    let number = stubborn.id().cast_signed();
    until("it is stopped", || stat(number).is_some_and(|(state, _)| state == 'T')).await;
    exchange_supervisor(&bench, &attempt, stubborn.id());
    kill_process(Pid::from_raw(supervisor).unwrap(), Signal::KILL).unwrap();
    let runner = bench.again();
    runner.cancel(&handle, Duration::ZERO).await.unwrap();
    let report = crate::support::end(&runner, &handle).await;
    assert_eq!(report.outcome, Outcome::Cancelled { code: None });
    assert!(!crate::support::is_alive(job));
    stubborn.wait().unwrap();
}

pub async fn attempts_of_another_installation_are_not_adopted() {
    let bench = Bench::new();
    let attempt = bench.attempt(shell("true"));
    bench.launch(&attempt).await.unwrap();
    let other = InstallationId::random();
    assert!(bench.runner.adopt(&other).await.unwrap().is_empty());
    assert_eq!(bench.runner.adopt(&attempt.installation).await.unwrap().len(), 1);
    bench.end(&bench.runner.handle(&attempt)).await;
    assert!(processes_with(attempt.id.as_str()).is_empty());
}

pub async fn what_a_program_prints_before_init_is_part_of_the_error_and_harms_no_job() {
    let said = with_a_program_that("prints").await;
    assert_eq!(said, "exited with code 0\n");
    let said = with_a_program_that("fails").await;
    assert!(said.contains("longshore::init() was never called"), "{said}");
    assert!(said.contains("with the message: failed to bind port 80: in use"), "{said}");
}

pub async fn a_program_that_hangs_before_init_is_killed_and_the_launch_refused() {
    let said = with_a_program_that("hangs").await;
    assert!(said.contains("longshore::init() was not called within 15s"), "{said}");
}

//! Jobs that outlive the command that submitted them, and the commands about them.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::case::cases;
use super::results::{KEYS, keys};
use super::signals::{pointed_at, silent_cluster};
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, same, says, until};
use crate::command::Longshore;
use crate::folders::JobDirectory;
use crate::network::Silent;
use crate::programs;
use crate::running::{PATIENCE, Ran};

cases! { "jobs":
    a_detached_job_is_named_on_stdout_and_waited_for_by_its_name,
    a_detached_job_outlives_its_command_and_gives_all_its_output,
    output_is_followed_from_the_start_of_a_job_that_is_still_being_launched,
    a_detached_job_that_cannot_run_exits_with_125_and_names_none,
    ctrl_c_before_its_start_cancels_a_detached_job,
    ctrl_c_ends_the_waiting_and_not_the_job,
    ps_lists_what_goes_on_and_with_all_what_has_ended,
    the_records_have_the_keys_of_a_result_and_the_state,
    inspect_tells_all_but_secrets,
    cancel_ends_a_job_and_says_so_once_it_has_ended,
    rm_removes_a_job_from_its_runner_and_from_the_record,
    rm_by_force_kills_a_job_that_goes_on,
    without_inotify_jobs_are_waited_for_cancelled_and_removed [UserNamespaces],
    a_job_whose_command_was_killed_is_found_again_and_runs_once,
    a_job_whose_command_was_killed_before_its_start_never_starts,
    one_idempotency_key_runs_a_job_once,
    a_run_with_the_key_of_a_killed_run_takes_its_job_up_with_its_output,
    a_dry_run_of_gc_names_what_gc_then_removes_and_changes_nothing,
    an_id_that_names_no_job_or_is_too_short_is_refused,
}

/// A job that waits for its input `go`. It writes a line to output/ for each start and each end.
const STEPS: &str = "echo started >> {jobDir}/output/starts; echo first; \
                     until [ -e {jobDir}/input/go ]; do sleep 0.1; done; \
                     echo last; echo ended >> {jobDir}/output/ends; exit 7";

/// Runs `longshore ARGS`.
pub(super) fn longshore(bench: &Bench, args: &[&str]) -> Result<Ran> {
    bench.longshore()?.args(args).run()
}

/// Removes the job, so that nothing of the case is left.
pub(super) fn removed(bench: &Bench, id: &str) -> Checked {
    longshore(bench, &["rm", "--force", id])?.exits(0)
}

/// Launches `script` and returns its id.
pub(super) fn detached(bench: &Bench, flags: &[&str], script: &str) -> Result<String> {
    let command = bench.longshore()?.args(["run", "--detach"]).args(flags).args(bench.way()?);
    let ran = command.args(["--", "sh", "-c", script]).run()?;
    ran.exits(0)?;
    let text = ran.text();
    let id = text.strip_suffix('\n').with_context(|| format!("no line: {text:?}"))?;
    ensure!(
        !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric()),
        "not an id alone: {text:?}"
    );
    says(&ran.stderr, &[&format!("{}: the job has started", bench.backend)])?;
    Ok(id.to_owned())
}

/// Launches [`STEPS`].
fn steps(bench: &Bench, job: &JobDirectory, flags: &[&str]) -> Result<String> {
    let path = job.path().to_string_lossy().into_owned();
    detached(bench, &[&["--job-dir", &path], flags].concat(), STEPS)
}

/// Returns what `ps` lists.
pub(super) fn listed(bench: &Bench, flags: &[&str]) -> Result<Vec<Value>> {
    let ran = longshore(bench, &[&["ps", "--output", "json"], flags].concat())?;
    ran.exits(0)?;
    serde_json::from_slice(&ran.stdout).context("ps gave no array")
}

fn a_detached_job_is_named_on_stdout_and_waited_for_by_its_name(bench: &Bench) -> Checked {
    let id = detached(bench, &[], "exit 3")?;
    let ran = longshore(bench, &["wait", &id])?;
    ran.exits(3)?;
    same("stdout", ran.text(), "")?;
    says(&ran.stderr, &[&format!("{}: the job exited with code 3", bench.backend)])?;
    // Again, from the record, and by the beginning of its id.
    longshore(bench, &["wait", &id[..6]])?.exits(3)?;
    removed(bench, &id)
}

fn a_detached_job_outlives_its_command_and_gives_all_its_output(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let path = job.path().to_string_lossy().into_owned();
    let script = "seq 1 3000; echo half; until [ -e {jobDir}/input/go ]; do sleep 0.1; done; \
                  seq 3001 6000";
    let id = detached(bench, &["--job-dir", &path], script)?;
    let mut following = bench.longshore()?.args(["logs", "--follow", &id]).spawn()?;
    following.until_stdout("half\n")?;
    ensure!(following.is_running()?, "it does not follow");
    job.input("go", "")?;
    let ran = following.finish()?;
    ran.exits(0)?;
    let numbers = |range: std::ops::RangeInclusive<u32>| -> String {
        range.map(|n| format!("{n}\n")).collect()
    };
    let whole = numbers(1..=3000) + "half\n" + &numbers(3001..=6000);
    ensure!(ran.text() == whole, "the output followed is not what was written");
    longshore(bench, &["wait", &id])?.exits(0)?;
    // The output stays after the end.
    let later = longshore(bench, &["logs", &id])?;
    later.exits(0)?;
    ensure!(later.text() == whole, "the output read later is not what was written");
    same("stderr", later.stderr.as_str(), "")?;
    removed(bench, &id)
}

fn output_is_followed_from_the_start_of_a_job_that_is_still_being_launched(
    bench: &Bench,
) -> Checked {
    let server = Silent::new()?;
    let running = after_silence(bench, &server)?.args(["run", "--detach"]).args(bench.way()?);
    let running = match bench.backend {
        // With an image, so that it could also run in the silent cluster.
        Backend::Process => running.args(["--image", "busybox:1", "--process", "seq 3"]).spawn()?,
        _ => running.args(["--", "seq", "3"]).spawn()?,
    };
    server.until_connected()?;
    let id = listed(bench, &[])?[0]["job"].as_str().context("no job")?.to_owned();
    let mut following = after_silence(bench, &server)?.args(["logs", "--follow", &id]).spawn()?;
    let refused = after_silence(bench, &server)?.args(["logs", &id]).run()?;
    refused.exits(125)?;
    says(&refused.stderr, &["has not started"])?;
    ensure!(following.is_running()?, "it does not wait");
    server.hang_up()?;
    let ran = following.finish()?;
    ran.exits(0)?;
    same("its output", ran.text().as_str(), "1\n2\n3\n")?;
    running.finish()?.exits(0)?;
    removed(bench, &id)
}

/// Returns the command, which first asks a backend that gives no answer, and then this one.
fn after_silence(bench: &Bench, server: &Silent) -> Result<Longshore> {
    let command = bench
        .longshore()?
        .env("JOB_CONNECTTIMEOUT", "2m")
        .env("JOB_DOCKER_CONNECTTIMEOUT", "2m")
        .env("JOB_KUBERNETES_CONNECTTIMEOUT", "2m");
    let name = bench.backend.name();
    if bench.backend == Backend::Kubernetes {
        let host = format!("tcp://{}", server.address());
        return Ok(command.env("DOCKER_HOST", host).env("JOB_RUNNERS", format!("docker,{name}")));
    }
    let cluster = silent_cluster(bench, server)?;
    Ok(command.env("KUBECONFIG", cluster).env("JOB_RUNNERS", format!("kubernetes,{name}")))
}

fn a_detached_job_that_cannot_run_exits_with_125_and_names_none(bench: &Bench) -> Checked {
    // No backend is reachable, and no limit can be enforced without one.
    let wrong =
        bench.folders.file("wrong.toml", "network = 'none'\n[resources.limits]\ncpu = '1'\n")?;
    let command = bench.bare()?.env("JOB_RUNNERS", bench.backend.name());
    let command = command.args(["run", "--detach"]).arg(wrong).args(bench.way()?);
    let ran = command.args(["--", "true"]).run()?;
    ran.exits(125)?;
    same("stdout", ran.text(), "")?;
    says(&ran.stderr, &[&format!("passed over {}", bench.backend), "no runner took it"])?;
    let both = ["run", "--detach", "--result", "r.json", "--", "true"];
    let ran = longshore(bench, &both)?;
    ran.exits(2)?;
    says(&ran.stderr, &["--detach", "--result"])
}

fn ctrl_c_before_its_start_cancels_a_detached_job(bench: &Bench) -> Checked {
    let server = Silent::new()?;
    let running = unanswered(bench, &server, &[&NEVER[..1], &["--detach"], &NEVER[1..]].concat())?;
    let running = running.spawn()?;
    server.until_connected()?;
    running.signal(Signal::INT)?;
    let ran = running.finish()?;
    ran.exits(143)?;
    same("stdout", ran.text(), "")?;
    says(&ran.stderr, &["cancelling the job", "the job was cancelled"])
}

/// A job for a backend that gives no answer.
const NEVER: [&str; 5] = ["run", "--image", "busybox:1", "--", "true"];

/// Returns `longshore ARGS` with only a backend that gives no answer.
fn unanswered(bench: &Bench, server: &Silent, args: &[&str]) -> Result<Longshore> {
    let silent = if bench.backend == Backend::Docker { "docker" } else { "kubernetes" };
    let command = pointed_at(bench, server)?.env("JOB_RUNNERS", silent);
    Ok(command.env("JOB_CONNECTTIMEOUT", "2m").args(args))
}

fn ctrl_c_ends_the_waiting_and_not_the_job(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let id = steps(bench, &job, &[])?;
    let mut waiting = bench.longshore()?.args(["--verbose", "wait", &id]).spawn()?;
    waiting.until_stderr("taken up")?;
    ensure!(waiting.is_running()?, "it does not wait");
    waiting.signal(Signal::INT)?;
    let ran = waiting.finish()?;
    ran.exits(130)?;
    says(&ran.stderr, &[&format!("job {id} still runs")])?;
    job.input("go", "")?;
    longshore(bench, &["wait", &id])?.exits(7)?;
    same("its ends", job.output("ends").as_deref(), Some("ended\n"))?;
    removed(bench, &id)
}

fn ps_lists_what_goes_on_and_with_all_what_has_ended(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let over = detached(bench, &["--name", "short"], "exit 4")?;
    let runs = steps(bench, &job, &["--name", "long"])?;
    longshore(bench, &["wait", &over])?.exits(4)?;
    let table = |flags: &[&str]| -> Result<Vec<Vec<String>>> {
        let ran = longshore(bench, flags)?;
        ran.exits(0)?;
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        Ok(ran.text().lines().map(words).collect())
    };
    let seen = table(&["ps"])?;
    same("the head", seen[0].join(" "), "ID NAME RUNNER STATE AGE OUTCOME COMMAND")?;
    same("the lines", seen.len(), 2)?;
    let backend = bench.backend.name();
    let expected = [runs.as_str(), "long", backend, "Running"];
    same("what runs", &seen[1][..4], &expected[..])?;
    same("its outcome", &seen[1][5], "-")?;
    let seen = table(&["ps", "--all"])?;
    same("the lines with --all", seen.len(), 3)?;
    same("the newest comes first", &seen[1][0], &runs)?;
    same("what has ended", &seen[2][..4], &[over.as_str(), "short", backend, "Ended"][..])?;
    same("how it ended", seen[2][5..7].join(" "), "Exited 4".to_owned())?;
    says(&seen[2][7..].join(" "), &["exit 4"])?;
    // No command waits for it: ps itself finds its end.
    job.input("go", "")?;
    longshore(bench, &["logs", "--follow", &runs])?.exits(0)?;
    same("the jobs that still run at the end", listed(bench, &[])?, Vec::<Value>::new())?;
    removed(bench, &runs)?;
    removed(bench, &over)
}

fn the_records_have_the_keys_of_a_result_and_the_state(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let id = steps(bench, &job, &[])?;
    let expected: BTreeSet<&str> = KEYS.into_iter().chain(["state"]).collect();
    let running = listed(bench, &[])?;
    same("the records", running.len(), 1)?;
    same("the keys", keys(&running[0]), expected.clone())?;
    same("the job", &running[0]["job"], &json!(id))?;
    same("the state", &running[0]["state"], "Running")?;
    same("the outcome", &running[0]["outcome"], &json!(null))?;
    job.input("go", "")?;
    let ran = longshore(bench, &["wait", &id, "--output", "json"])?;
    ran.exits(7)?;
    let waited: Vec<Value> = serde_json::from_slice(&ran.stdout)?;
    same("what wait prints", waited.len(), 1)?;
    same("the keys in the end", keys(&waited[0]), expected)?;
    same("the state in the end", &waited[0]["state"], "Ended")?;
    same("the outcome in the end", &waited[0]["outcome"], &json!({"kind": "Exited", "code": 7}))?;
    same("what ps shows", &listed(bench, &["--all"])?, &waited)?;
    removed(bench, &id)
}

fn inspect_tells_all_but_secrets(bench: &Bench) -> Checked {
    let secret = bench.folders.file("token", "hunter2")?;
    let source = format!("TOKEN=file:{}", secret.display());
    let id = detached(bench, &["--secret-env", &source, "--name", "n"], "exit 0")?;
    longshore(bench, &["wait", &id])?.exits(0)?;
    let ran = longshore(bench, &["inspect", &id])?;
    ran.exits(0)?;
    ensure!(!ran.text().contains("hunter2"), "it shows a secret: {}", ran.text());
    let seen: Value = serde_json::from_slice(&ran.stdout)?;
    same("the id", &seen["id"], &json!(id))?;
    same("the state", &seen["state"], "Ended")?;
    same("the name", &seen["spec"]["name"], "n")?;
    ensure!(seen["spec"]["secretEnv"]["TOKEN"].to_string().contains("token"), "{seen}");
    let attempt = &seen["attempts"][0];
    same("the attempt's runner", &attempt["handle"]["runner"], bench.backend.name())?;
    same("the attempt's state", &attempt["state"], "Ended")?;
    same("the outcome", &seen["result"]["outcome"]["kind"], "Exited")?;
    removed(bench, &id)
}

fn cancel_ends_a_job_and_says_so_once_it_has_ended(bench: &Bench) -> Checked {
    let script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    let id = detached(bench, &[], script)?;
    let following = bench.longshore()?.args(["logs", "--follow", &id]).spawn()?;
    following.until_stdout("ready")?;
    let ran = longshore(bench, &["cancel", &id, "--grace", "20s"])?;
    ran.exits(0)?;
    says(&ran.stderr, &["the job was cancelled"])?;
    following.finish()?.exits(0)?;
    let outcome = json!({"kind": "Cancelled", "code": 5});
    same("the outcome", &listed(bench, &["--all"])?[0]["outcome"], &outcome)?;
    longshore(bench, &["wait", &id])?.exits(5)?;
    let again = longshore(bench, &["cancel", &id])?;
    again.exits(0)?;
    says(&again.stderr, &["had already ended", "was cancelled"])?;
    removed(bench, &id)
}

fn rm_removes_a_job_from_its_runner_and_from_the_record(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let id = steps(bench, &job, &[])?;
    let refused = longshore(bench, &["rm", &id])?;
    refused.exits(125)?;
    same("stdout", refused.text(), "")?;
    says(&refused.stderr, &["has not ended", "--force"])?;
    job.input("go", "")?;
    longshore(bench, &["wait", &id])?.exits(7)?;
    let ran = longshore(bench, &["rm", &id])?;
    ran.exits(0)?;
    same("stdout", ran.text(), format!("{id}\n"))?;
    gone(bench)?;
    let again = longshore(bench, &["rm", &id])?;
    again.exits(125)?;
    says(&again.stderr, &[&format!("no job {id}")])
}

fn rm_by_force_kills_a_job_that_goes_on(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let id = steps(bench, &job, &[])?;
    removed(bench, &id)?;
    gone(bench)?;
    job.input("go", "")?;
    same("its ends", job.output("ends"), None)
}

/// Fails unless nothing is on record and, after a while, nothing of the job is on the backend.
fn gone(bench: &Bench) -> Checked {
    same("what is on record", listed(bench, &["--all"])?, Vec::<Value>::new())?;
    until(PATIENCE, "the job's traces to go", || {
        let left = bench.on_backend()?;
        // A supervisor that waits for the next job is not a trace of this one.
        let left = left.iter().filter(|line| !line.contains(": process ")).count();
        Ok((left == 0).then_some(()))
    })
}

/// Launches [`STEPS`] with a `run` that is killed once its output has begun.
fn killed_run(bench: &Bench, job: &JobDirectory, flags: &[&str]) -> Checked {
    let path = job.path().to_string_lossy().into_owned();
    let flags = [&["--job-dir", &path], flags].concat();
    let running = bench.script(&flags, STEPS)?.spawn()?;
    running.until_stdout("first\n")?;
    running.signal(Signal::KILL)?;
    let ran = running.finish()?;
    same("its exit code", ran.code(), None)
}

/// Returns `longshore ARGS` for a user who has no inotify instance left.
fn without_inotify(bench: &Bench, args: &[&str]) -> Result<Longshore> {
    let command = bench.program(Path::new("unshare"))?.env("JOB_RUNNERS", bench.backend.name());
    let script = r#"echo 0 > /proc/sys/user/max_inotify_instances && exec "$0" "$@""#;
    let command = command.args(["--user", "--map-root-user", "sh", "-c", script]);
    Ok(bench.reaching(command.arg(programs::longshore()?).args(args), bench.backend))
}

fn without_inotify_jobs_are_waited_for_cancelled_and_removed(bench: &Bench) -> Checked {
    let id = detached(bench, &[], "sleep 600")?;
    let waiting = without_inotify(bench, &["wait", &id])?.spawn()?;
    let cancelled = without_inotify(bench, &["cancel", &id])?.run()?;
    cancelled.exits(0)?;
    let waited = waiting.finish()?;
    says(&waited.stderr, &["was cancelled"])?;
    removed(bench, &id)?;
    let id = detached(bench, &[], "sleep 600")?;
    without_inotify(bench, &["rm", "--force", &id])?.run()?.exits(0)?;
    same("the jobs left", listed(bench, &[])?, Vec::<Value>::new())
}

fn a_job_whose_command_was_killed_is_found_again_and_runs_once(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    killed_run(bench, &job, &[])?;
    let found = listed(bench, &[])?;
    same("the jobs on record", found.len(), 1)?;
    same("the state", &found[0]["state"], "Running")?;
    let id = found[0]["job"].as_str().context("no job")?;
    job.input("go", "")?;
    longshore(bench, &["wait", id])?.exits(7)?;
    let outcome = json!({"kind": "Exited", "code": 7});
    same("the outcome", &listed(bench, &["--all"])?[0]["outcome"], &outcome)?;
    same("its output", longshore(bench, &["logs", id])?.text(), "first\nlast\n")?;
    same("its starts", job.output("starts").as_deref(), Some("started\n"))?;
    same("its ends", job.output("ends").as_deref(), Some("ended\n"))?;
    removed(bench, id)
}

/// The command is killed while it asks a backend that gives no answer.
fn a_job_whose_command_was_killed_before_its_start_never_starts(bench: &Bench) -> Checked {
    let server = Silent::new()?;
    let listed = || -> Result<Value> {
        let ran = unanswered(bench, &server, &["ps", "--all", "--output", "json"])?.run()?;
        let jobs: Vec<Value> = serde_json::from_slice(&ran.stdout)?;
        jobs.into_iter().next().context("the job is not on record")
    };
    let running = unanswered(bench, &server, &NEVER)?.spawn()?;
    server.until_connected()?;
    let seen = listed()?;
    same("the state", &seen["state"], "Queued")?;
    let id = seen["job"].as_str().context("no job")?;
    running.signal(Signal::KILL)?;
    running.finish()?;
    let ran = unanswered(bench, &server, &["wait", id])?.run()?;
    ran.exits(125)?;
    says(&ran.stderr, &["before the job started", "the job will never start"])?;
    same("the reason", &listed()?["outcome"]["reason"], "Interrupted")?;
    unanswered(bench, &server, &["rm", id])?.run()?.exits(0)
}

fn one_idempotency_key_runs_a_job_once(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let id = steps(bench, &job, &["--idempotency-key", "k"])?;
    let again = steps(bench, &job, &["--idempotency-key", "k"])?;
    same("the job of the second", &again, &id)?;
    let path = job.path().to_string_lossy().into_owned();
    let flags = ["--job-dir", &path, "--idempotency-key", "k"];
    let waiting = bench.script(&flags, STEPS)?.spawn()?;
    waiting.until_stderr(&format!("belongs to job {id}"))?;
    let other = bench.run(&["--idempotency-key", "k"], "exit 0")?;
    other.exits(125)?;
    says(&other.stderr, &["idempotency key `k`", &id])?;
    job.input("go", "")?;
    waiting.finish()?.exits(7)?;
    same("its starts", job.output("starts").as_deref(), Some("started\n"))?;
    same("the jobs on record", listed(bench, &["--all"])?.len(), 1)?;
    removed(bench, &id)
}

fn a_run_with_the_key_of_a_killed_run_takes_its_job_up_with_its_output(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let key = ["--idempotency-key", "nightly"];
    killed_run(bench, &job, &key)?;
    job.input("go", "")?;
    let path = job.path().to_string_lossy().into_owned();
    let ran = bench.run(&[&["--job-dir", &path], &key[..]].concat(), STEPS)?;
    ran.exits(7)?;
    same("stdout", ran.text(), "first\nlast\n")?;
    same("its starts", job.output("starts").as_deref(), Some("started\n"))?;
    same("its ends", job.output("ends").as_deref(), Some("ended\n"))
}

fn a_dry_run_of_gc_names_what_gc_then_removes_and_changes_nothing(bench: &Bench) -> Checked {
    let job = bench.folders.job_directory("job")?;
    let runs = steps(bench, &job, &[])?;
    let over = detached(bench, &[], "exit 0")?;
    longshore(bench, &["wait", &over])?.exits(0)?;
    let gc = |flags: &[&str]| -> Result<String> {
        let ran = longshore(bench, &[&["gc"], flags].concat())?;
        ran.exits(0)?;
        Ok(ran.text())
    };
    same("what is kept", gc(&["--dry-run"])?, "")?;
    let before = listed(bench, &["--all"])?;
    let named = gc(&["--dry-run", "--older-than", "0s"])?;
    same("the lines", named.lines().count(), 1)?;
    says(&named, &[bench.backend.name(), &over, "the job ended at", "would be removed"])?;
    same("the records after a dry run", listed(bench, &["--all"])?, before)?;
    longshore(bench, &["logs", &over])?.exits(0)?;
    let done = gc(&["--older-than", "0s"])?;
    same("what is removed", done, named.replace("would be removed", "removed"))?;
    same("what is left to name", gc(&["--dry-run", "--older-than", "0s"])?, "")?;
    same("what still runs", &listed(bench, &[])?[0]["job"], &json!(runs))?;
    removed(bench, &runs)
}

fn an_id_that_names_no_job_or_is_too_short_is_refused(bench: &Bench) -> Checked {
    let commands: [&[&str]; 6] =
        [&["wait"], &["logs"], &["inspect"], &["cancel"], &["rm"], &["rm", "--force"]];
    for command in commands {
        for (id, why) in [("abcdefgh", "no job abcdefgh"), ("ab", "too short")] {
            let ran = longshore(bench, &[command, &[id]].concat())?;
            ran.exits(125)?;
            same("stdout", ran.text(), "")?;
            says(&ran.stderr, &["error: ", why])?;
        }
    }
    Ok(())
}

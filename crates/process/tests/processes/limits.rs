//! Resource limits that the launching process has inherited.

use std::path::Path;
use std::process::Command;

use futures::StreamExt;
use longshore_core::{
    Attempt, ErrorKind, Event, Handle, JobId, LaunchError, LogChunk, LogPosition, Memory, Outcome,
    Runner, RunnerName,
};
use longshore_process::{ProcessRunner, raise_limits};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

use crate::support::{Bench, config, context, end, run, shell};

/// A user who is not root, and who owns nothing on this machine.
const NOBODY: u32 = 61_234;

/// Runs `script` as a job of another process, which has inherited `limits`, such as `f=1000:` for a
/// soft limit on the size of files or `f=:1000` for a hard one. Returns what that process says.
pub async fn under(bench: &Bench, limits: &str, script: &str) -> String {
    let attempt = bench.attempt(shell(script));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--limited", limits]).arg(bench.folder.path());
    command.args([attempt.installation.as_str(), attempt.job.as_str(), script]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Acts as the process that [`under`] starts.
pub fn helper(arguments: &[String]) {
    let [limits, state, installation, job, script] = arguments else { return };
    for limit in limits.split(',') {
        set(limit);
    }
    println!("{}", std::fs::read_to_string("/proc/self/limits").unwrap());
    raise_limits();
    let mut spec = shell(script);
    spec.resources.limits.memory = (script == "needs memory").then(|| Memory::from_bytes(64 << 20));
    let attempt = Attempt::new(installation.parse().unwrap(), job.parse().unwrap(), 1, spec);
    run(async {
        let runner = ProcessRunner::new(RunnerName::process(), config(Path::new(state)));
        match script.as_str() {
            "descriptors" => return count_descriptors(&runner, installation).await,
            "many" => return run_many(&runner, installation, Path::new(state)).await,
            _ => {}
        }
        if let Err(error) = runner.probe().await {
            println!("probe: {error}");
        }
        let handle = match runner.launch(&attempt, &context()).await {
            Ok(started) => started.handle,
            Err(error) => return println!("refused: {error}"),
        };
        println!("outcome: {}", end(&runner, &handle).await.outcome);
        let mut kept = Vec::new();
        let mut chunks = runner.logs(&handle, LogPosition::START, true);
        while let Some(chunk) = chunks.next().await {
            match chunk.unwrap() {
                LogChunk::Data { bytes, .. } => kept.extend_from_slice(&bytes),
                gap => println!("gap: {gap:?}"),
            }
        }
        println!("kept: {}", kept.len());
        print!("{}", String::from_utf8_lossy(&kept[..kept.len().min(4096)]));
    });
}

fn set(limit: &str) {
    let (name, values) = limit.split_once('=').unwrap();
    if name == "user" {
        if rustix::process::geteuid().is_root() {
            let (user, group) = (values.parse().unwrap(), values.parse().unwrap());
            let (user, group) =
                (rustix::process::Uid::from_raw(user), rustix::process::Gid::from_raw(group));
            set_thread_res_gid(group, group, group).unwrap();
            set_thread_res_uid(user, user, user).unwrap();
        }
        return;
    }
    let resource = match name {
        "f" => Resource::Fsize,
        "t" => Resource::Cpu,
        "d" => Resource::Data,
        "v" => Resource::As,
        "n" => Resource::Nofile,
        _ => Resource::Nproc,
    };
    let old = getrlimit(resource);
    let (soft, hard) = values.split_once(':').unwrap();
    let hard = hard.parse().ok().or(old.maximum);
    let current = soft.parse().ok().or(hard);
    setrlimit(resource, Rlimit { current, maximum: hard }).unwrap();
}

/// Returns the limits in `text` that matter, each with its values.
fn limits_in(text: &str) -> Vec<String> {
    let is_limit = |line: &&str| {
        ["Max file size", "Max cpu", "Max data", "Max address", "Max open files", "Max processes"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    text.lines().filter(is_limit).map(str::to_owned).collect()
}

pub async fn a_job_gets_the_limits_of_the_command_and_its_supervisor_does_not() {
    let bench = Bench::new();
    for descriptors in ["300", "20"] {
        let limits =
            format!("f=1000000:,t=1000:,d=2000000000:,v=3000000000:,n={descriptors}:,u=4000:");
        let said = under(&bench, &limits, "cat /proc/self/limits /proc/$PPID/limits").await;
        let seen = limits_in(&said);
        let [inherited, job, supervisor] = [&seen[..6], &seen[6..12], &seen[12..]];
        assert_eq!(inherited, job, "{said}");
        assert!(supervisor.iter().all(|line| !line.contains(" 1000000 ")), "{said}");
        assert!(supervisor.iter().all(|line| !line.contains(" 1000 ")), "{said}");
    }
}

pub async fn a_limit_on_file_sizes_neither_cuts_output_off_nor_loses_the_job() {
    let bench = Bench::new();
    let said = under(&bench, "f=100000:", "head -c 5000000 /dev/zero; exit 3").await;
    assert!(said.contains("outcome: exited with code 3\nkept: 5000000\n"), "{said}");
}

pub async fn a_job_that_exceeds_a_limit_says_which() {
    let bench = Bench::new();
    let file = bench.folder.path().join("file");
    let script = format!("exec dd if=/dev/zero of={} bs=1000000 count=1", file.display());
    let said = under(&bench, "f=100000:", &script).await;
    assert!(said.contains("outcome: ended by signal 25 (code 153), SIGXFSZ: the limit"), "{said}");
    let said = under(&bench, "t=1:", "while :; do :; done").await;
    assert!(said.contains("outcome: ended by signal 24 (code 152), SIGXCPU: the limit"), "{said}");
}

fn for_nobody(bench: &Bench) {
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(bench.folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

pub async fn output_beyond_a_hard_limit_on_file_sizes_is_kept_in_several_files() {
    let bench = Bench::new();
    for_nobody(&bench);
    let limits = format!("f=:100000,user={NOBODY}");
    let said = under(&bench, &limits, "head -c 5000000 /dev/zero; exit 3").await;
    assert!(said.contains("outcome: exited with code 3\nkept: 5000000\n"), "{said}");
}

pub async fn a_job_takes_few_descriptors() {
    let bench = Bench::new();
    let said = under(&bench, "n=400:400", "descriptors").await;
    // One for its supervisor, and one for its output while it is followed.
    assert!(said.contains("10 detached jobs: 10 descriptors\n"), "{said}");
    assert!(said.contains("10 attached jobs: 20 descriptors\n"), "{said}");
}

/// Acts as the process that runs jobs and counts its descriptors.
async fn count_descriptors(runner: &ProcessRunner, installation: &str) {
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut handles = Vec::new();
    // Without two jobs before, the count includes what all jobs share: the second one starts the fork
    // server.
    let mut before = 0;
    for number in 0..12 {
        let job = JobId::random();
        let attempt =
            Attempt::new(installation.parse().unwrap(), job, 1, shell("echo x; sleep 1000"));
        handles.push(runner.launch(&attempt, &context()).await.unwrap().handle);
        if number == 1 {
            drop(follow_until_output(runner, &handles[0]).await);
            before = open();
        }
    }
    println!("10 detached jobs: {} descriptors", open() - before);
    let mut followed = Vec::new();
    for handle in &handles[2..] {
        followed.push(follow_until_output(runner, handle).await);
    }
    println!("10 attached jobs: {} descriptors", open() - before);
    drop(followed);
    for handle in &handles {
        runner.remove(handle).await.unwrap();
    }
}

/// Follows the events and the output of a job until both have begun.
async fn follow_until_output(runner: &ProcessRunner, handle: &Handle) -> impl Send + use<> {
    let mut events = runner.events(handle);
    assert!(matches!(events.next().await, Some(Ok(Event::Started(_)))));
    assert!(matches!(events.next().await, Some(Ok(Event::Running))));
    let mut logs = runner.logs(handle, LogPosition::START, true);
    assert!(matches!(logs.next().await, Some(Ok(LogChunk::Data { .. }))));
    // Both wait for more now.
    assert!(futures::poll!(events.next()).is_pending());
    assert!(futures::poll!(logs.next()).is_pending());
    (events, logs)
}

pub async fn with_few_descriptors_jobs_are_refused_or_run_to_their_end() {
    let bench = Bench::new();
    let said = under(&bench, "n=256:256", "many").await;
    let ran: usize =
        said.lines().find_map(|it| it.strip_prefix("ran at once: ")).unwrap().parse().unwrap();
    assert!(ran >= 30, "{said}");
    assert!(said.contains("ran in the end: 150\n"), "{said}");
}

/// Acts as the process that runs 150 jobs, and retries those that it refused.
async fn run_many(runner: &ProcessRunner, installation: &str, state: &Path) {
    let gate = state.join("gate");
    let script = format!("echo x; while ! test -e {}; do sleep 0.05; done", gate.display());
    let mut attempts: Vec<Attempt> = (0..150)
        .map(|_| Attempt::new(installation.parse().unwrap(), JobId::random(), 1, shell(&script)))
        .collect();
    let mut ran = 0;
    while !attempts.is_empty() {
        let context = context();
        let launches = attempts.iter().map(|attempt| runner.launch(attempt, &context));
        let launched = futures::future::join_all(launches).await;
        let mut refused = Vec::new();
        let mut followed = Vec::new();
        for (attempt, launched) in attempts.into_iter().zip(launched) {
            match launched {
                Ok(started) => followed.push(follow_to_end(runner, started.handle)),
                Err(LaunchError::Refused(error)) => {
                    assert_eq!(error.kind(), ErrorKind::Saturated, "{error}");
                    assert!(error.to_string().contains("is 256"), "{error}");
                    refused.push(attempt);
                }
                Err(error) => panic!("{error}"),
            }
        }
        if ran == 0 {
            println!("ran at once: {}", followed.len());
        }
        ran += followed.len();
        std::fs::write(&gate, "").unwrap();
        futures::future::join_all(followed).await;
        attempts = refused;
    }
    println!("ran in the end: {ran}");
}

async fn follow_to_end(runner: &ProcessRunner, handle: Handle) {
    let logs = runner.logs(&handle, LogPosition::START, true).map(Result::unwrap);
    let (report, output) = futures::join!(end(runner, &handle), logs.collect::<Vec<_>>());
    assert_eq!(report.outcome, Outcome::Exited { code: 0, signal: None });
    assert_eq!(output.len(), 1, "{output:?}");
}

pub async fn a_hard_limit_that_is_too_low_for_a_supervisor_is_a_refusal_with_its_name() {
    let bench = Bench::new();
    for_nobody(&bench);
    for (limit, name) in [("f=:1000", "ulimit -f"), ("n=:25", "ulimit -n")] {
        let said = under(&bench, &format!("{limit},user={NOBODY}"), "true").await;
        assert!(said.contains("probe: the hard limit on the"), "{said}");
        assert!(said.contains("refused: ") && said.matches(name).count() == 2, "{said}");
    }
}

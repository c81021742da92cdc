//! Jobs whose resources a cgroup limits.

use std::path::{Path, PathBuf};

use futures::StreamExt;
use longshore_core::{
    Attempt, Capability, ErrorKind, ExecEvent, ExecSpec, JobSpec, LaunchError, Memory, Runner,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::limits::under;
use crate::support::{Bench, end, is_alive, line_in, shell, stat};

/// Returns why these cases cannot run here, or `None`.
pub fn obstacle() -> Option<String> {
    let bench = Bench::new();
    [Capability::LimitMemory, Capability::LimitCpu, Capability::LimitPids]
        .into_iter()
        .find_map(|capability| bench.runner.remedy(capability))
}

fn limited(script: &str) -> JobSpec {
    let mut spec = shell(script);
    spec.resources.limits.memory = Some(Memory::from_bytes(64 << 20));
    spec.resources.limits.cpu = Some("500m".parse().unwrap());
    spec.resources.limits.pids = Some(50);
    spec
}

/// Returns the cgroups in the record of `attempt`.
fn cgroups(bench: &Bench, attempt: &Attempt) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(bench.directory(attempt).join("record.jsonl")).unwrap();
    let line = text.lines().find(|line| line.contains("starting")).unwrap();
    let entry: serde_json::Value = serde_json::from_str(line).unwrap();
    let paths = entry["starting"]["cgroups"].as_array().unwrap();
    paths.iter().map(|path| PathBuf::from(path.as_str().unwrap())).collect()
}

/// Returns the content of the first of `files` that one of `groups` has.
fn value(groups: &[PathBuf], files: &[&str]) -> String {
    let paths = groups.iter().flat_map(|group| files.iter().map(move |file| group.join(file)));
    let text = paths.map(std::fs::read_to_string).find_map(Result::ok).unwrap();
    text.trim().to_owned()
}

pub async fn a_limited_job_and_its_commands_are_in_its_cgroups_and_leave_none_behind() {
    let bench = Bench::new();
    let mine = bench.folder.path().join("mine");
    let script =
        format!("cat /proc/self/cgroup > {0}.tmp; mv {0}.tmp {0}; sleep 1000", mine.display());
    let attempt = bench.attempt(limited(&script));
    let handle = bench.launch(&attempt).await.unwrap().handle;
    line_in(&mine).await;
    let groups = cgroups(&bench, &attempt);
    let names = |text: &str| text.matches(&format!("/longshore-{}\n", attempt.id)).count();
    let mine = std::fs::read_to_string(mine).unwrap();
    assert_eq!(names(&mine), groups.len(), "{mine}");
    assert_eq!(value(&groups, &["memory.limit_in_bytes", "memory.max"]), "67108864");
    let quota = value(&groups, &["cpu.cfs_quota_us", "cpu.max"]);
    assert_eq!(quota.split(' ').next(), Some("50000"));
    assert_eq!(value(&groups, &["pids.max"]), "50");

    let command = ExecSpec::new(["cat", "/proc/self/cgroup"]);
    let events = bench.runner.exec(&handle, &command).await.unwrap().events;
    let bytes: Vec<_> = events
        .filter_map(async |event| match event.unwrap() {
            ExecEvent::Output { bytes, .. } => Some(bytes.to_vec()),
            _ => None,
        })
        .collect()
        .await;
    let of_command = String::from_utf8(bytes.concat()).unwrap();
    assert_eq!(names(&of_command), groups.len(), "{of_command}");

    bench.runner.remove(&handle).await.unwrap();
    assert!(groups.iter().all(|group| !group.exists()), "{groups:?}");
}

pub async fn a_killed_supervisor_leaves_no_cgroup_and_no_process_that_hides() {
    let bench = Bench::new();
    let pids = bench.folder.path().join("pids");
    // It has another session, no marker in its environment, and soon no parent.
    let hidden =
        format!("echo $PPID $$ > {0}.tmp; mv {0}.tmp {0}; exec sleep 1000", pids.display());
    let script = format!("(setsid env -i /bin/sh -c '{hidden}' &); exec sleep 1000");
    let attempt = bench.attempt(limited(&script));
    let handle = bench.launch(&attempt).await.unwrap().handle;
    let line = line_in(&pids).await;
    let hidden: i32 = line.rsplit(' ').next().unwrap().parse().unwrap();
    let groups = cgroups(&bench, &attempt);
    crate::support::until("it has lost its parent", || {
        stat(hidden).is_some_and(|(_, parent)| is_supervisor(parent))
    })
    .await;
    let supervisor = stat(hidden).unwrap().1;
    kill_process(Pid::from_raw(supervisor).unwrap(), Signal::KILL).unwrap();
    assert_eq!(end(&bench.again(), &handle).await.outcome.kind(), "Lost");
    assert!(!is_alive(hidden));
    assert!(groups.iter().all(|group| !group.exists()), "{groups:?}");
}

fn is_supervisor(pid: i32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.starts_with(b"longshore-supervisor\0")
}

pub async fn a_job_whose_cgroup_cannot_be_created_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let first = bench.attempt(limited("true"));
    let handle = bench.launch(&first).await.unwrap().handle;
    let base = cgroups(&bench, &first)[0].parent().map(Path::to_owned).unwrap();
    assert!(end(&*bench.runner, &handle).await.outcome.is_success());

    let mark = bench.folder.path().join("ran");
    let attempt = bench.attempt(limited(&format!("touch {}", mark.display())));
    let taken = base.join(format!("longshore-{}", attempt.id));
    std::fs::create_dir(&taken).unwrap();
    let launched = bench.launch(&attempt).await;
    let _ = std::fs::remove_dir(&taken);
    let Err(LaunchError::Refused(error)) = launched else { panic!("{launched:?}") };
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let told = format!("by a cgroup: {}", taken.display());
    assert!(error.to_string().contains(&told), "{error}");
    assert!(!mark.exists() && !bench.directory(&attempt).exists());
}

pub async fn a_user_without_cgroups_is_told_how_to_get_some() {
    let bench = Bench::new();
    let said = under(&bench, "user=61234", "needs memory").await;
    let told = "refused: it does not support resources.limits.memory (failed to use the cgroup";
    assert!(said.contains(told), "{said}");
    // Version 1, or version 2.
    let remedies = ["run Longshore as root", "`systemd-run --user --scope -p Delegate=yes`"];
    assert!(remedies.iter().any(|remedy| said.contains(remedy)), "{said}");
}

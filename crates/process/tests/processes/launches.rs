//! What a launch answers.

use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use futures::future::join_all;
use longshore_core::{
    Attempt, ErrorKind, JobSpec, LaunchError, Outcome, RejectReason, Runner, Secret, Settled,
};
use tokio::time::Instant;

use crate::support::{Bench, LIMIT, context, other_process, shell, until, without_inotify};

async fn refused(bench: &Bench, spec: JobSpec) -> longshore_core::Error {
    let attempt = bench.attempt(spec);
    let Err(LaunchError::Refused(error)) = bench.launch(&attempt).await else {
        panic!("it was not refused")
    };
    assert!(!bench.directory(&attempt).exists(), "it leaves nothing behind");
    error
}

pub async fn a_command_that_is_not_there_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let expected = ErrorKind::Rejected(RejectReason::CommandNotFound);
    for command in ["no-such-command", "/no/such/command", "./no"] {
        assert_eq!(refused(&bench, JobSpec::process([command])).await.kind(), expected);
    }
    // The script is found, but its interpreter is not: detected only after the commit.
    let script = bench.folder.path().join("script");
    write_executable(&script, "#!/no/such/interpreter\n");
    let error = refused(&bench, JobSpec::process([script.display().to_string()])).await;
    assert_eq!(error.kind(), expected);
}

pub async fn a_job_that_stops_its_supervisor_at_once_is_launched_all_the_same() {
    let bench = Bench::new();
    for _ in 0..5 {
        let handle = bench.start(shell("kill -STOP $PPID; exec sleep 1000")).await;
        bench.runner.cancel(&handle, Duration::ZERO).await.unwrap();
        assert_eq!(bench.end(&handle).await.outcome.kind(), "Cancelled");
    }
}

fn write_executable(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub async fn a_command_that_cannot_be_executed_is_refused_and_leaves_nothing() {
    let bench = Bench::new();
    let expected = ErrorKind::Rejected(RejectReason::CommandNotExecutable);
    for command in ["/etc/passwd", "/etc"] {
        assert_eq!(refused(&bench, JobSpec::process([command])).await.kind(), expected);
    }
    // The file is executable, but the kernel does not know its format: detected only after the
    // commit.
    let file = bench.folder.path().join("file");
    write_executable(&file, "hello\n");
    let error = refused(&bench, JobSpec::process([file.display().to_string()])).await;
    assert_eq!(error.kind(), expected);
}

pub async fn a_missing_working_directory_is_refused_with_its_path() {
    let bench = Bench::new();
    let mut spec = shell("true");
    spec.process.as_mut().unwrap().working_dir = Some("/no/such/place".to_owned());
    let error = refused(&bench, spec).await;
    assert_eq!(error.kind(), ErrorKind::Rejected(RejectReason::ContainerConfig));
    assert!(error.to_string().contains("/no/such/place"), "{error}");
}

pub async fn a_job_directory_without_input_is_invalid() {
    let bench = Bench::new();
    let folder = bench.folder.path().join("job");
    std::fs::create_dir_all(folder.join("output")).unwrap();
    let mut spec = shell("cp input/a output/b; pwd > {jobDir}/output/where");
    spec.job_directory = Some(folder.clone());
    let error = refused(&bench, spec.clone()).await;
    assert_eq!(error.kind(), ErrorKind::InvalidSpec);
    assert!(error.to_string().contains("input does not exist"), "{error}");
    std::fs::create_dir(folder.join("input")).unwrap();
    std::fs::write(folder.join("input/a"), "hello").unwrap();
    let report = bench.end(&bench.start(spec).await).await;
    assert_eq!(report.outcome, Outcome::Exited { code: 0, signal: None });
    assert_eq!(std::fs::read_to_string(folder.join("output/b")).unwrap(), "hello");
    let whereabouts = std::fs::read_to_string(folder.join("output/where")).unwrap();
    assert_eq!(whereabouts.trim(), folder.to_str().unwrap());
}

pub async fn a_state_directory_that_cannot_be_made_is_unavailable() {
    let bench = Bench::with(|config| config.state_directory = Some("/etc/passwd/longshore".into()));
    assert_eq!(refused(&bench, shell("true")).await.kind(), ErrorKind::Unavailable);
    let error = bench.runner.probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let healthy = Bench::new();
    let health = healthy.runner.probe().await.unwrap();
    assert!(health.version.starts_with("Linux "), "{health:?}");
    assert!(std::fs::read_dir(healthy.folder.path()).unwrap().next().is_none(), "it made nothing");
}

pub async fn the_environment_is_clean() {
    let bench = Bench::new();
    let mut spec = JobSpec::process(["env"]);
    spec.env.insert("GREETING".to_owned(), "a b".to_owned());
    spec.secret_env.insert("TOKEN".to_owned(), longshore_core::SecretSource::Env("X".to_owned()));
    let mut attempt = bench.attempt(spec);
    attempt.secret_env.insert("TOKEN".to_owned(), Secret::new("hunter2"));
    let handle = bench.launch(&attempt).await.unwrap().handle;
    let output = String::from_utf8(bench.output(&handle).await.0).unwrap();
    let mut names: Vec<&str> = output.lines().map(|l| l.split_once('=').unwrap().0).collect();
    names.retain(|name| {
        !["HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR"].contains(name)
            && !name.starts_with("LC_")
    });
    names.sort_unstable();
    assert_eq!(names, ["GREETING", "LONGSHORE_ATTEMPT", "PATH", "TOKEN"]);
    assert!(output.contains("GREETING=a b\n") && output.contains("TOKEN=hunter2\n"));
    for entry in std::fs::read_dir(bench.directory(&attempt)).unwrap() {
        let path = entry.unwrap().path();
        let is_output = path.ends_with("stdout");
        let bytes = std::fs::read(path).unwrap();
        assert!(is_output || !bytes.windows(7).any(|part| part == b"hunter2"));
    }
}

pub async fn a_job_has_no_inherited_descriptors_and_default_signals() {
    // A descriptor that this program leaves open to the processes it starts.
    let file = std::fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    assert!(file.as_raw_fd() > 2);
    let bench = Bench::new();
    // `ls` itself opens the fourth one to read the folder.
    let fds = bench.stdout("ls /proc/self/fd; readlink /proc/self/fd/0").await;
    assert_eq!(fds, "0\n1\n2\n3\n/dev/null\n");
    let status = bench.stdout("cat /proc/self/status").await;
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    assert_eq!(mask("SigBlk:"), 0);
    // 32 and 33 are the C library's own; its posix_spawn ignores them in what it starts.
    assert_eq!(mask("SigIgn:") & 0x7fff_ffff, 0);
}

pub async fn a_program_started_apart_leads_a_session_and_has_no_inherited_descriptors() {
    let file = std::fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let told = longshore_process::command_apart().arg("--inherited").output().unwrap();
    // The program itself opens the fourth one to read the folder.
    assert_eq!(String::from_utf8(told.stdout).unwrap(), "true [\"0\", \"1\", \"2\", \"3\"]\n");
}

fn said(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line
}

pub async fn two_processes_that_launch_one_attempt_start_it_once() {
    let bench = Bench::new();
    for _ in 0..5 {
        let attempt = bench.attempt(shell("unused"));
        let script = format!("echo x >> {}/{}", bench.folder.path().display(), attempt.id);
        let mut both: Vec<Child> = (0..2)
            .map(|_| {
                let mut command = other_process(bench.folder.path(), &attempt, &script);
                command.stdout(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for child in &mut both {
            assert_eq!(said(child), "started\n");
        }
        bench.end(&bench.runner.handle(&attempt)).await;
        for child in &mut both {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let started = std::fs::read_to_string(bench.folder.path().join(attempt.id.as_str()));
        assert_eq!(started.unwrap(), "x\n");
    }
}

pub async fn settling_and_launching_at_once_never_both_win() {
    let bench = Bench::new();
    let mut fenced = 0;
    for round in 0..100_u64 {
        let attempt = bench.attempt(shell("true"));
        let handle = bench.runner.handle(&attempt);
        let other = bench.again();
        // Each starts earlier or later within the duration of a launch, so that each wins in some
        // rounds.
        let late = |by: u64| async move {
            if by > 0 {
                tokio::time::sleep(Duration::from_micros(by * 40)).await;
            }
        };
        let launch = async {
            late(50_u64.saturating_sub(round)).await;
            bench.launch(&attempt).await
        };
        let settle = async {
            late(round.saturating_sub(50)).await;
            other.settle(&handle, Instant::now() + LIMIT).await.unwrap()
        };
        let (launched, settled) = tokio::join!(launch, settle);
        match (launched, settled) {
            (Ok(_), Settled::MayHaveStarted) => {}
            (Err(LaunchError::Refused(_)), Settled::NeverStarted) => fenced += 1,
            odd => panic!("{odd:?}"),
        }
    }
    assert!((1..100).contains(&fenced), "{fenced} fences came first: the race was not tried");
}

pub async fn a_settled_attempt_cannot_be_launched() {
    let bench = Bench::new();
    let attempt = bench.attempt(shell("true"));
    let handle = bench.runner.handle(&attempt);
    let settle = || bench.runner.settle(&handle, Instant::now() + LIMIT);
    assert_eq!(settle().await.unwrap(), Settled::NeverStarted);
    assert_eq!(settle().await.unwrap(), Settled::NeverStarted);
    assert!(matches!(bench.launch(&attempt).await, Err(LaunchError::Refused(_))));
    assert!(bench.runner.adopt(&bench.installation).await.unwrap().is_empty());
    assert_eq!(bench.end(&handle).await.outcome.kind(), "Lost");
    let run = bench.attempt(shell("true"));
    let handle = bench.launch(&run).await.unwrap().handle;
    bench.end(&handle).await;
    let settled = bench.runner.settle(&handle, Instant::now() + LIMIT).await.unwrap();
    assert_eq!(settled, Settled::MayHaveStarted);
}

pub async fn a_cancelled_launch_is_refused() {
    let bench = Bench::new();
    let attempt = bench.attempt(shell("true"));
    let context = context();
    context.cancel.cancel();
    let answer = bench.runner.launch(&attempt, &context).await;
    let Err(LaunchError::Refused(error)) = answer else { panic!("{answer:?}") };
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(!bench.directory(&attempt).exists());
}

pub async fn one_more_job_than_slots_is_saturated() {
    let bench = Bench::with(|config| config.slots = 2);
    let first = bench.start(shell("sleep 1000")).await;
    let second = bench.start(shell("sleep 1000")).await;
    assert_eq!(refused(&bench, shell("true")).await.kind(), ErrorKind::Saturated);
    bench.runner.cancel(&first, Duration::ZERO).await.unwrap();
    bench.end(&first).await;
    let mut third = None;
    let limit = Instant::now() + LIMIT;
    while third.is_none() && Instant::now() < limit {
        third = bench.launch(&bench.attempt(shell("true"))).await.ok();
    }
    assert!(third.is_some(), "the slot is free again");
    bench.runner.remove(&second).await.unwrap();
}

pub async fn fifty_jobs_run_at_once() {
    let bench = Bench::new();
    let gate = bench.folder.path().join("gate");
    let attempts: Vec<Attempt> = (0..50)
        .map(|n| {
            let wait = format!("while ! test -e {}; do sleep 0.05; done", gate.display());
            bench.attempt(shell(&format!("echo {n}; {wait}; exit {n}")))
        })
        .collect();
    let started = join_all(attempts.iter().map(|attempt| bench.launch(attempt))).await;
    let handles: Vec<_> = started.into_iter().map(|started| started.unwrap().handle).collect();
    assert_eq!(bench.runner.adopt(&bench.installation).await.unwrap().len(), 50);
    std::fs::write(&gate, "").unwrap();
    let ends = join_all(handles.iter().map(|handle| bench.end(handle))).await;
    for (n, (end, handle)) in ends.iter().zip(&handles).enumerate() {
        let code = i32::try_from(n).unwrap();
        assert_eq!(end.outcome, Outcome::Exited { code, signal: None });
        assert_eq!(bench.output(handle).await.0, format!("{n}\n").into_bytes());
    }
    let record = |attempt: &Attempt| bench.directory(attempt).join("record.jsonl");
    until("all records are there", || attempts.iter().all(|a| record(a).exists())).await;
}

pub async fn a_launch_that_was_refused_never_starts_later() {
    let bench = Bench::new();
    let started = bench.folder.path().join("started");
    let script = format!("echo x >> {}", started.display());
    // Repeated at different moments of the launch. Its fence is removed at once.
    for round in 0..60 {
        let attempt = bench.attempt(shell(&script));
        let mut context = context();
        context.deadline = Instant::now() + Duration::from_micros(1 + round * 60);
        let handle = bench.runner.handle(&attempt);
        match bench.runner.launch(&attempt, &context).await {
            Ok(_) => {
                bench.end(&handle).await;
                std::fs::remove_file(&started).unwrap();
                bench.runner.remove(&handle).await.unwrap();
            }
            Err(LaunchError::Refused(_)) => bench.runner.remove(&handle).await.unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
    // A further job on the same pool: everything that was under way before is over by then.
    bench.end(&bench.start(shell("sleep 0.3")).await).await;
    assert!(!started.exists(), "a refused job ran");
    assert_eq!(bench.runner.adopt(&bench.installation).await.unwrap().len(), 1);
}

pub async fn a_job_without_inotify_is_followed_cancelled_and_removed() {
    let bench = Bench::new();
    let attempt = bench.attempt(shell("unused"));
    let mut other = without_inotify(bench.folder.path(), &attempt);
    let ran = tokio::task::spawn_blocking(move || other.output().unwrap()).await.unwrap();
    let error = String::from_utf8_lossy(&ran.stderr);
    if error.contains("unshare failed") {
        println!("unsupported: this system allows no user namespace: {error}");
        return;
    }
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(said.contains("begun") && said.contains("cancelled"), "{said}{error}");
    assert!(!bench.directory(&attempt).exists());
}

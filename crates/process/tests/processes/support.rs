//! Helpers that the cases share.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use longshore_core::{
    Attempt, Event, Handle, InstallationId, JobId, JobSpec, LaunchContext, LaunchError, LogChunk,
    LogPosition, LogStream, Outcome, Report, Runner, RunnerName, Started,
};
use longshore_process::{ProcessConfig, ProcessRunner};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use crate::{forks, limits};

/// Longer than anything here takes.
pub const LIMIT: Duration = Duration::from_secs(60);

pub fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { timeout(LIMIT * 2, case).await.expect("the case hangs") });
}

/// A runner with a state directory of its own.
pub struct Bench {
    pub folder: TempDir,
    pub runner: Arc<ProcessRunner>,
    pub installation: InstallationId,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut ProcessConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        let runner = Arc::new(ProcessRunner::new(RunnerName::process(), config));
        Self { folder, runner, installation: InstallationId::random() }
    }

    /// Returns a runner on the same state directory, as another process would have it.
    pub fn again(&self) -> ProcessRunner {
        runner(self.folder.path())
    }

    pub fn attempt(&self, spec: JobSpec) -> Attempt {
        Attempt::new(self.installation.clone(), JobId::random(), 1, spec)
    }

    pub fn directory(&self, attempt: &Attempt) -> PathBuf {
        self.folder.path().join("attempts").join(attempt.id.as_str())
    }

    pub async fn start(&self, spec: JobSpec) -> Handle {
        self.launch(&self.attempt(spec)).await.unwrap().handle
    }

    pub async fn launch(&self, attempt: &Attempt) -> Result<Started, LaunchError> {
        self.runner.launch(attempt, &context()).await
    }

    pub async fn end(&self, handle: &Handle) -> Report {
        end(&*self.runner, handle).await
    }

    /// Runs a script to its end.
    pub async fn outcome(&self, script: &str) -> Outcome {
        self.end(&self.start(shell(script)).await).await.outcome
    }

    pub async fn output(&self, handle: &Handle) -> (Vec<u8>, Vec<u8>) {
        let chunks = self.runner.logs(handle, LogPosition::START, true).map(Result::unwrap);
        let mut found = (Vec::new(), Vec::new());
        let mut chunks = chunks.boxed();
        while let Some(chunk) = timeout(LIMIT, chunks.next()).await.expect("output hangs") {
            let LogChunk::Data { stream, offset, bytes } = chunk else {
                panic!("a gap: {chunk:?}")
            };
            let side = if stream == LogStream::Stdout { &mut found.0 } else { &mut found.1 };
            assert_eq!(side.len() as u64, offset);
            side.extend_from_slice(&bytes);
        }
        found
    }

    /// Returns what a script writes to stdout.
    pub async fn stdout(&self, script: &str) -> String {
        let handle = self.start(shell(script)).await;
        String::from_utf8(self.output(&handle).await.0).unwrap()
    }
}

pub fn config(state: &Path) -> ProcessConfig {
    let mut config = ProcessConfig::default();
    config.state_directory = Some(state.to_owned());
    config
}

pub fn runner(state: &Path) -> ProcessRunner {
    ProcessRunner::new(RunnerName::process(), config(state))
}

pub fn context() -> LaunchContext {
    LaunchContext::new(Instant::now() + LIMIT)
}

pub fn shell(script: &str) -> JobSpec {
    JobSpec::process(["sh", "-c", script])
}

/// A script with a short grace period.
pub fn brief(script: &str) -> JobSpec {
    let mut spec = shell(script);
    spec.grace_period = Some("300ms".parse().unwrap());
    spec
}

pub async fn end(runner: &dyn Runner, handle: &Handle) -> Report {
    let mut events = runner.events(handle);
    let mut last = None;
    while let Some(event) = timeout(LIMIT, events.next()).await.expect("events hang") {
        if let Event::Ended(report) = event.unwrap() {
            assert!(last.replace(report).is_none(), "a second end");
        }
    }
    last.expect("the stream ended with the job's end")
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < limit, "not seen in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits for a file that contains a whole line, and returns that line.
pub async fn line_in(path: &Path) -> String {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    until("a line in a file", || read().ends_with('\n')).await;
    read().trim().to_owned()
}

/// Returns the processes that have `text` in their arguments or environment, except zombies.
pub fn processes_with(text: &str) -> Vec<i32> {
    let own = std::process::id().cast_signed();
    let holds = |pid: i32, file: &str| {
        std::fs::read(format!("/proc/{pid}/{file}"))
            .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
    };
    all_processes()
        .into_iter()
        .filter(|pid| *pid != own && (holds(*pid, "cmdline") || holds(*pid, "environ")))
        .collect()
}

pub fn children_of(parent: i32) -> Vec<i32> {
    all_processes().into_iter().filter(|pid| stat(*pid).is_some_and(|s| s.1 == parent)).collect()
}

/// Returns the state and the parent of a process.
pub fn stat(pid: i32) -> Option<(char, i32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

pub fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

fn all_processes() -> Vec<i32> {
    let names =
        std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

/// Returns a command that runs this test program as another process that launches an attempt.
pub fn other_process(state: &Path, attempt: &Attempt, script: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("helper").arg(state).arg(attempt.installation.as_str()).arg(attempt.job.as_str());
    command.arg(script);
    command
}

/// Returns a command that runs this test program as another process that follows `attempt` with too
/// few descriptors.
pub fn follower_without_descriptors(state: &Path, attempt: &Attempt) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--starved").arg(state).arg(attempt.installation.as_str());
    command.arg(attempt.job.as_str());
    command
}

/// Acts as the process that [`follower_without_descriptors`] starts: follows the attempt with no
/// descriptor to spare, then with one, and so on, and prints what it saw.
fn follow_without_descriptors(state: &Path, installation: &str, job: &str) {
    let attempt =
        Attempt::new(installation.parse().unwrap(), job.parse().unwrap(), 1, shell("unused"));
    let limit = Rlimit { current: Some(64), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();
    for spare in 0..8 {
        // A new runtime each time: its end closes everything that was opened before.
        run(async {
            let runner = runner(state);
            let mut events = runner.events(&runner.handle(&attempt));
            let open = || std::fs::File::open("/dev/null").ok();
            let mut occupied: Vec<_> = std::iter::from_fn(open).collect();
            occupied.truncate(occupied.len() - spare);
            // Enough to begin to watch, and to look once more.
            for _ in 0..2 {
                if let Ok(Some(event)) = timeout(Duration::from_millis(200), events.next()).await {
                    println!("{spare}: {event:?}");
                }
            }
        });
    }
}

/// Returns a command that runs this test program as another process of a user without inotify
/// instances, which launches `attempt`, cancels it, and follows it to its end.
pub fn without_inotify(state: &Path, attempt: &Attempt) -> Command {
    let mut command = Command::new("unshare");
    // A user namespace has limits of its own: user_namespaces(7).
    command.args(["--user", "--map-root-user", "sh", "-c"]);
    command.arg(r#"echo 0 > /proc/sys/user/max_inotify_instances && exec "$0" "$@""#);
    command.arg(std::env::current_exe().unwrap()).arg("--without-inotify").arg(state);
    command.arg(attempt.installation.as_str()).arg(attempt.job.as_str());
    command
}

/// Acts as the process that [`without_inotify`] starts, and prints the output and the outcome.
fn follow_without_inotify(state: &Path, installation: &str, job: &str) {
    let script = "echo begun; sleep 1000";
    let attempt =
        Attempt::new(installation.parse().unwrap(), job.parse().unwrap(), 1, shell(script));
    run(async {
        let runner = runner(state);
        let handle = runner.launch(&attempt, &context()).await.unwrap().handle;
        let mut output = runner.logs(&handle, LogPosition::START, true);
        println!("{:?}", output.next().await);
        runner.cancel(&handle, Duration::ZERO).await.unwrap();
        println!("{}", end(&runner, &handle).await.outcome);
        while output.next().await.is_some() {}
        runner.remove(&handle).await.unwrap();
    });
}

/// Returns what a process says that launches a job, and whose program does `what` before it calls
/// `init`.
pub async fn with_a_program_that(what: &'static str) -> String {
    let bench = Bench::new();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--before-init").arg(what).arg(bench.folder.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Acts as the supervisor of such a process: does what its program does before `init`.
pub fn before_init() {
    let is_supervisor = std::env::args().next().is_some_and(|name| name == "longshore-supervisor");
    let parent = rustix::process::getppid().filter(|_| is_supervisor);
    let Some(parent) = parent else { return };
    let line = std::fs::read_to_string(format!("/proc/{parent}/cmdline")).unwrap_or_default();
    match line.split('\0').skip_while(|word| *word != "--before-init").nth(1) {
        Some("prints") => println!("{}a banner", "x".repeat(100_000)),
        Some("fails") => {
            println!("failed to bind port 80: in use");
            std::process::exit(1);
        }
        Some("hangs") => loop {
            std::thread::park();
        },
        _ => {}
    }
}

/// Acts as the process that [`with_a_program_that`] starts.
fn launch_one(state: &Path) {
    let folder = state.to_owned();
    run(async move {
        let runner = runner(&folder);
        let attempt =
            Attempt::new(InstallationId::random(), JobId::random(), 1, shell("echo hello"));
        match runner.launch(&attempt, &context()).await {
            Ok(started) => println!("{}", end(&runner, &started.handle).await.outcome),
            Err(error) => println!("{error}"),
        }
    });
}

/// Acts as the process that [`other_process`] starts, if this is one: launches, prints `started` or
/// the refusal, and stays alive until it is killed.
pub fn helper() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|word| word == "--inherited") {
        tell_what_is_inherited();
        return Some(ExitCode::SUCCESS);
    }
    if arguments.get(1).is_some_and(|word| word == "--one-thread-less") {
        end_first_thread();
    }
    if let Some((mode, rest)) = arguments.get(1..).and_then(<[String]>::split_first)
        && mode == "--limited"
    {
        limits::helper(rest);
        return Some(ExitCode::SUCCESS);
    }
    if let [_, mode, _, state] = arguments.as_slice()
        && mode == "--before-init"
    {
        launch_one(Path::new(state));
        return Some(ExitCode::SUCCESS);
    }
    if let [_, mode, state, installation] = arguments.as_slice()
        && mode == "--at-once"
    {
        forks::launch_at_once(Path::new(state), installation);
        return Some(ExitCode::SUCCESS);
    }
    if let [_, mode, state, installation, job] = arguments.as_slice() {
        match mode.as_str() {
            "--starved" => follow_without_descriptors(Path::new(state), installation, job),
            "--without-inotify" => follow_without_inotify(Path::new(state), installation, job),
            _ => return None,
        }
        return Some(ExitCode::SUCCESS);
    }
    let [_, helper, state, installation, job, script] = arguments.as_slice() else { return None };
    if helper != "helper" {
        return None;
    }
    let attempt =
        Attempt::new(installation.parse().unwrap(), job.parse().unwrap(), 1, shell(script));
    let runner = runner(Path::new(state));
    run(async {
        match runner.launch(&attempt, &context()).await {
            Ok(_) => println!("started"),
            Err(error) => println!("{error}"),
        }
        std::future::pending::<()>().await;
    });
    Some(ExitCode::SUCCESS)
}

/// Ends the first thread of this process, which goes on with another.
#[expect(unsafe_code, reason = "no library ends only the first thread")]
fn end_first_thread() -> ! {
    println!("{}", std::process::id());
    std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
    loop {
        // SAFETY: no destructor of this thread's values has to run, as the process has no others that
        // use them.
        unsafe { nix::libc::syscall(nix::libc::SYS_exit, 0) };
    }
}

/// Prints whether this process leads a session, and its descriptors.
fn tell_what_is_inherited() {
    let leads = rustix::process::getsid(None).unwrap() == rustix::process::getpid();
    let folder = std::fs::read_dir("/proc/self/fd").unwrap();
    let mut open: Vec<_> = folder.map(|entry| entry.unwrap().file_name()).collect();
    open.sort();
    println!("{leads} {open:?}");
}

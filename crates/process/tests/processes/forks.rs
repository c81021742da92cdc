//! Supervisors that are forked, as all but the first of those that run at once.
//!
//! Each case has a process of its own that launches the jobs, so that its children are theirs.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures::future::join_all;
use longshore_core::{Attempt, InstallationId, JobId, Outcome, Runner};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Bench, children_of, context, is_alive, line_in, run, runner, shell, until};

/// How many jobs run at once.
const JOBS: usize = 10;

/// A process that launches jobs. It launches further ones for each line that it receives.
struct Launcher {
    process: Child,
    lines: Box<dyn Iterator<Item = std::io::Result<String>>>,
}

impl Launcher {
    fn start(bench: &Bench) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("--at-once").arg(bench.folder.path()).arg(bench.installation.as_str());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = Box::new(BufReader::new(process.stdout.take().unwrap()).lines());
        Self { process, lines }
    }

    /// Launches jobs, and returns their supervisors.
    fn launch(&mut self) -> Vec<i32> {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let line = self.lines.next().expect("the launcher has ended").unwrap();
        line.split(' ').map(|pid| pid.parse().unwrap()).collect()
    }

    /// Returns its children other than `supervisors`, which is the fork server.
    fn fork_server(&self, supervisors: &[i32]) -> i32 {
        let mut children = children_of(self.process.id().cast_signed());
        children.retain(|pid| is_alive(*pid) && !supervisors.contains(pid));
        let [server] = children.as_slice() else { panic!("{children:?}") };
        *server
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Acts as the process that [`Launcher::start`] starts. Its jobs end once the file `gate` exists.
pub fn launch_at_once(state: &Path, installation: &str) {
    let installation: InstallationId = installation.parse().unwrap();
    run(async {
        let runner = runner(state);
        let mut orders = std::io::stdin().lines();
        while orders.next().is_some() {
            let jobs = (0..JOBS).map(|_| async {
                let job = JobId::random();
                let pid = state.join(format!("{job}.pid"));
                let (gate, told) = (state.join("gate"), pid.display());
                let script = format!(
                    "echo $PPID > {told}; while ! test -e {}; do sleep 0.05; done; exit 7",
                    gate.display()
                );
                let attempt = Attempt::new(installation.clone(), job, 1, shell(&script));
                runner.launch(&attempt, &context()).await.unwrap();
                line_in(&pid).await
            });
            println!("{}", join_all(jobs).await.join(" "));
        }
    });
}

/// Lets the jobs of `bench` end, and checks that there are `count`, each with its own outcome.
async fn all_end(bench: &Bench, count: usize) {
    let handles = bench.runner.adopt(&bench.installation).await.unwrap();
    assert_eq!(handles.len(), count);
    std::fs::write(bench.folder.path().join("gate"), "").unwrap();
    for handle in &handles {
        let outcome = bench.end(handle).await.outcome;
        assert_eq!(outcome, Outcome::Exited { code: 7, signal: None });
    }
}

/// Returns the part of the anonymous memory of a process that counts as its own, in KiB.
fn memory(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

pub async fn supervisors_that_run_at_once_share_their_memory() {
    let bench = Bench::new();
    let mut launcher = Launcher::start(&bench);
    let supervisors = launcher.launch();
    let mut used: Vec<u64> = supervisors.iter().map(|pid| memory(*pid)).collect();
    used.sort_unstable();
    // The first one was executed, and has all its memory for itself.
    let executed = used.pop().unwrap();
    assert!(used.iter().all(|forked| forked * 3 < executed), "{used:?} {executed}");
    all_end(&bench, JOBS).await;
    launcher.kill();
}

pub async fn a_killed_fork_server_harms_no_job_and_is_replaced() {
    let bench = Bench::new();
    let mut launcher = Launcher::start(&bench);
    let mut supervisors = launcher.launch();
    let killed = launcher.fork_server(&supervisors);
    kill_process(Pid::from_raw(killed).unwrap(), Signal::KILL).unwrap();
    until("it is dead", || !is_alive(killed)).await;
    supervisors.extend(launcher.launch());
    // Some were executed meanwhile.
    supervisors.extend(launcher.launch());
    assert_ne!(launcher.fork_server(&supervisors), killed);
    all_end(&bench, 3 * JOBS).await;
    launcher.kill();
}

pub async fn jobs_with_forked_supervisors_outlive_the_process_that_launched_them() {
    let bench = Bench::new();
    let mut launcher = Launcher::start(&bench);
    let supervisors = launcher.launch();
    let server = launcher.fork_server(&supervisors);
    launcher.kill();
    until("the fork server ends", || !is_alive(server)).await;
    // The death of one supervisor does not affect the others.
    all_end(&bench, JOBS).await;
    for supervisor in supervisors {
        until("the supervisor ends", || !is_alive(supervisor)).await;
    }
}

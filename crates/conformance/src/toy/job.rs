//! One job that has started: its first process and its end.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use longshore_core::{Attempt, LogStream, Outcome, Report, Result};
use parking_lot::Mutex;
use rustix::process::Signal;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Flaw::{self, *};
use super::command;
use super::signals::Target;
use super::stdin::Stdin;
use super::times::Times;

/// Why a job is ended early, and when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Cancelled(Instant),
    TimedOut(Instant),
    Removed,
}

impl Stop {
    fn kill_at(self) -> Instant {
        match self {
            Self::Cancelled(at) | Self::TimedOut(at) => at,
            Self::Removed => Instant::now(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) attempt: Attempt,
    /// The instance of the runner that launched it.
    pub(super) instance: u64,
    pub(super) started_at: Option<Timestamp>,
    pub(super) ended: watch::Receiver<Option<Report>>,
    /// The instance that cancelled it; 0 for none.
    pub(super) cancelled_by: AtomicU64,
    /// Whether its events are followed.
    pub(super) followed: Arc<AtomicBool>,
    /// Whether its end was sent to a listener.
    pub(super) end_sent: AtomicBool,
    /// Waiting for its process does not close it.
    pub(super) stdin: Arc<Stdin>,
    pub(super) times: Arc<Times>,
    /// Its first process.
    main: Option<u32>,
    /// The signals that were sent.
    signalled: Mutex<Vec<Signal>>,
    stop: watch::Sender<Option<Stop>>,
    files: PathBuf,
    pub(super) flaw: Option<Flaw>,
}

impl Job {
    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub(super) fn start(
        attempt: &Attempt,
        files: PathBuf,
        instance: u64,
        flaw: Option<Flaw>,
    ) -> Result<Self> {
        let child = command::spawn(attempt, &files, flaw);
        let mut child = child.inspect_err(|_| command::discard(&files))?;
        let main = child.id();
        let stdin = Stdin::new(child.stdin.take(), flaw);
        let started_at = now(flaw);
        let (stop, stopped) = watch::channel(None);
        let (end, ended) = watch::channel(None);
        let followed = Arc::new(AtomicBool::new(false));
        let timeout = attempt.spec.timeout.filter(|_| flaw != Some(ForgetsTimeouts));
        let follower = Follower {
            target: match flaw {
                Some(KillsOnlyTheFirstProcess) => Target::First(child.id()),
                Some(KillsOnlyItsGroup) => Target::Group(child.id()),
                _ => Target::All(attempt.id.clone()),
            },
            child,
            // A job without a stdin ends whatever happens to it.
            stdin: attempt.spec.stdin.then(|| Arc::clone(&stdin)),
            stopped,
            timeout: timeout.map(|timeout| Instant::now() + timeout.get()),
            grace: attempt.spec.effective_grace_period().get(),
            followed: Arc::clone(&followed),
            flaw,
        };
        tokio::spawn(async move {
            let mut report = Report::new(follower.follow().await);
            report.started_at = started_at;
            report.finished_at = now(flaw);
            end.send_replace(Some(report));
        });
        let (cancelled_by, end_sent) = (AtomicU64::new(0), AtomicBool::new(false));
        let attempt = attempt.clone();
        let times = Times::watch(files.clone(), ended.clone(), flaw);
        Ok(Self {
            attempt,
            instance,
            started_at,
            ended,
            cancelled_by,
            followed,
            end_sent,
            stdin,
            times,
            main,
            signalled: Mutex::default(),
            stop,
            files,
            flaw,
        })
    }

    /// Asks for an early end. Of two requests, the earlier KILL counts.
    pub(super) fn stop(&self, stop: Stop) {
        self.stop.send_if_modified(|held| {
            let sooner = held.is_none_or(|held| {
                stop.kill_at() < held.kill_at() && self.flaw != Some(IgnoresAShorterGrace)
            });
            if sooner {
                *held = Some(stop);
            }
            sooner
        });
    }

    /// Sends a signal to the first process. Returns false if the job has ended.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        if self.has_ended() {
            return self.flaw == Some(SignalsWhatHasEnded);
        }
        let again = self.signalled.lock().contains(&signal);
        self.signalled.lock().push(signal);
        match self.flaw {
            Some(IgnoresItsSignals) => {}
            Some(SendsEachSignalOnce) if again => {}
            Some(SignalsTheWholeTree) => Target::All(self.attempt.id.clone()).signal(signal),
            Some(CallsASignalACancel) => {
                self.stop(Stop::Cancelled(Instant::now() + Duration::from_secs(60)));
            }
            _ => Target::First(self.main).signal(signal),
        }
        true
    }

    /// Whether a cancel was requested, before or after the end.
    pub(super) fn is_cancelled(&self) -> bool {
        matches!(*self.stop.borrow(), Some(Stop::Cancelled(_)))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    pub(super) async fn end(&self) -> Report {
        let mut ended = self.ended.clone();
        let lost = || Report::new(Outcome::Lost { message: "its task is gone".to_owned() });
        match ended.wait_for(Option::is_some).await {
            Ok(report) => report.clone().unwrap_or_else(lost),
            Err(_) => lost(),
        }
    }

    pub(super) fn discard(&self) {
        command::discard(&self.files);
    }

    pub(super) fn file(&self, stream: LogStream) -> PathBuf {
        command::output(&self.files, stream)
    }
}

/// Returns the time by the backend's clock.
pub(super) fn now(flaw: Option<Flaw>) -> Option<Timestamp> {
    match flaw {
        Some(HasNoTimes) => None,
        // As if local time were UTC.
        Some(UsesAnotherClock) => Some(Timestamp::now() + Duration::from_secs(3600)),
        _ => Some(Timestamp::now()),
    }
}

/// Follows a process to its end, and ends it early on request or at its timeout.
struct Follower {
    child: Child,
    stdin: Option<Arc<Stdin>>,
    target: Target,
    stopped: watch::Receiver<Option<Stop>>,
    timeout: Option<Instant>,
    grace: Duration,
    followed: Arc<AtomicBool>,
    flaw: Option<Flaw>,
}

impl Follower {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    async fn follow(mut self) -> Outcome {
        let far = Instant::now() + Duration::from_secs(86_400);
        let mut stop: Option<Stop> = None;
        loop {
            let kill_at = match stop {
                Some(Stop::TimedOut(_)) if self.has(KillsAtItsTimeoutAtOnce) => Instant::now(),
                Some(stop) if stop == Stop::Removed || !self.has(NeverKills) => stop.kill_at(),
                _ => far,
            };
            tokio::select! {
                status = self.child.wait() => {
                    if let Some(stdin) = &self.stdin {
                        stdin.lets_it_end().await;
                    }
                    if !self.has(LeavesChildrenAtTheEnd) {
                        self.target.signal(Signal::KILL);
                    }
                    return self.outcome(status, stop);
                }
                Ok(()) = self.stopped.changed() => {
                    let asked = *self.stopped.borrow_and_update();
                    stop = asked;
                    if self.has(CancelOnlyMarks) && matches!(stop, Some(Stop::Cancelled(_))) {
                        self.flaw = Some(NeverKills);
                    } else if self.has(KillsBeforeTheGraceIsOver) {
                        self.target.signal(Signal::KILL);
                    } else {
                        self.target.signal(Signal::TERM);
                    }
                }
                () = sleep_until(self.timeout.unwrap_or(far)), if stop.is_none() => {
                    let followed = self.followed.load(Ordering::SeqCst);
                    if self.has(KeepsTimeoutsOnlyWhileFollowed) && !followed {
                        self.timeout = None;
                        continue;
                    }
                    stop = Some(Stop::TimedOut(Instant::now() + self.grace));
                    if !self.has(KillsAtItsTimeoutAtOnce) {
                        self.target.signal(Signal::TERM);
                    }
                }
                () = sleep_until(kill_at), if stop.is_some() => {
                    self.target.signal(Signal::KILL);
                    // The end of the child is the end of the job.
                    let status = self.child.wait().await;
                    self.target.signal(Signal::KILL);
                    return self.outcome(status, stop);
                }
            }
        }
    }

    fn outcome(&self, status: std::io::Result<ExitStatus>, stop: Option<Stop>) -> Outcome {
        let Ok(status) = status else {
            return Outcome::Lost { message: "it cannot be waited for".to_owned() };
        };
        let signal = status.signal();
        let base = if self.has(CallsTheSignalACode) { 0 } else { 128 };
        let code = status.code().or(signal.map(|signal| base + signal)).unwrap_or(255);
        let code = if self.has(TruncatesExitCodes) { code & 0x7f } else { code };
        let signal = signal.filter(|_| !self.has(ForgetsTheSignal));
        match stop {
            Some(Stop::Cancelled(_)) if !self.has(ForgetsThatItWasCancelled) => {
                Outcome::Cancelled { code: Some(code) }
            }
            Some(Stop::TimedOut(_)) if self.has(CallsATimeoutACancel) => {
                Outcome::Cancelled { code: Some(code) }
            }
            Some(Stop::TimedOut(_)) => Outcome::DeadlineExceeded { code: Some(code) },
            Some(Stop::Removed) if self.has(CallsAKilledJobASuccess) => {
                Outcome::Exited { code: 0, signal: None }
            }
            Some(Stop::Removed) => Outcome::Lost { message: "it was removed".to_owned() },
            _ => Outcome::Exited { code, signal },
        }
    }
}

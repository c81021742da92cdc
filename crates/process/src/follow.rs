//! An attempt as seen from outside, by the process that launched it or by any other.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use longshore_core::{Error, ErrorKind, Outcome, Report, Result};
use tokio::io::unix::AsyncFd;

use crate::cgroup;
use crate::children::OwnChild;
use crate::linux::{Liveness, ProcessIdentity, find_supervisor, watch_readable};
use crate::location::Location;
use crate::orphans::{Session, kill_orphans};
use crate::outcome::{Cause, outcome};
use crate::record::{Begin, End, Entry, Record, Refusal};
use crate::store::missing_is_none;
use crate::watch::{Kind, Watch, Watcher};

/// How soon to retry a failed operation, where no notification shows when it would succeed.
const RETRY: Duration = Duration::from_secs(1);

/// How long to wait for something that is sure to follow at once: a supervisor that has recorded the
/// end of its job is released.
const SOON: Duration = Duration::from_secs(5);

/// The first and the last of the doubling pauses between looks at an attempt before it is watched.
///
/// A process that ends with an inotify instance waits some 15 ms, until the kernel has freed its
/// watches (`fsnotify_wait_marks_destroyed`). That is longer than a short job takes.
const GLANCES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(32));

/// How long after the death of a process its number is surely not reused: a system would have to start
/// thousands of processes a second.
const RECENT: Duration = Duration::from_secs(5);

/// What is known about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttemptState {
    /// The attempt does not exist.
    Gone,
    /// The attempt never started and can never start.
    Fenced,
    /// The attempt could not be started and never will be.
    Refused(Refusal),
    /// A supervisor has the attempt. Contains its main process, once that is known.
    Running(Option<Begin>),
    /// The attempt has ended. Contains its start, if known.
    Ended(Option<Begin>, End),
}

/// Follows one attempt to its end.
#[derive(Debug)]
pub(crate) struct Follower {
    location: Location,
    watcher: Watcher,
    kind: Kind,
    /// The pause before the next look.
    glance: Duration,
    watch: Option<Watch>,
    supervisor: Supervisor,
}

/// What is known about an attempt's supervisor.
#[derive(Debug)]
enum Supervisor {
    /// Not checked yet.
    Unchecked(Option<Box<ProcessIdentity>>),
    /// Alive.
    Alive(Box<ProcessIdentity>, Death),
    /// Dead, and since when if this process has seen it alive.
    Dead(Option<Instant>),
    /// In another PID namespace.
    Unknown,
}

/// Where the death of a supervisor is noticed.
#[derive(Debug)]
enum Death {
    /// It is a child of this process.
    Own(OwnChild),
    /// Readable once it is dead.
    Pidfd(AsyncFd<OwnedFd>),
}

impl Follower {
    pub(crate) const fn new(location: Location, watcher: Watcher, kind: Kind) -> Self {
        let supervisor = Supervisor::Unchecked(None);
        Self { location, watcher, kind, glance: GLANCES.0, watch: None, supervisor }
    }

    pub(crate) const fn location(&self) -> &Location {
        &self.location
    }

    /// Returns what is known now. If the supervisor of an attempt is dead, ends the attempt: kills
    /// what is left of it and records it as `Lost`. If a supervisor of this process had the attempt,
    /// its end is reported once the supervisor is free for another job.
    pub(crate) async fn state(&mut self) -> Result<AttemptState> {
        let state = self.read()?;
        if let AttemptState::Ended(..) = state
            && let Some(released) = self.released()
        {
            // A supervisor that was stopped does not keep back what is recorded.
            let _ = tokio::time::timeout(SOON, released).await;
        }
        if let (AttemptState::Running(_), Supervisor::Dead(since)) = (&state, &self.supervisor) {
            self.end_lost(*since).await?;
            return self.read();
        }
        Ok(state)
    }

    fn read(&mut self) -> Result<AttemptState> {
        let record = self.location.read_record().map_err(|error| self.failed("read", error))?;
        let Some(record) = record else {
            // If the supervisor still has the job, it notices that the directory is gone and ends
            // the job.
            let nudged = match &self.supervisor {
                Supervisor::Alive(supervisor, _) | Supervisor::Unchecked(Some(supervisor)) => {
                    supervisor.nudge()
                }
                _ => Ok(()),
            };
            nudged.map_err(|error| self.failed("end what is left of", error))?;
            return Ok(AttemptState::Gone);
        };
        if let Supervisor::Unchecked(None) = &self.supervisor {
            self.supervisor = self
                .supervisor_of(&record)
                .map_err(|error| self.failed("find the supervisor of", error))?;
        }
        Ok(AttemptState::of(record))
    }

    /// Returns the supervisor that `record` names or, if it is damaged, the one that has it open.
    fn supervisor_of(&self, record: &Record) -> io::Result<Supervisor> {
        if let Some(starting) = &record.starting {
            return Ok(Supervisor::Unchecked(Some(Box::new(starting.supervisor.clone()))));
        }
        if record.is_fenced() {
            return Ok(Supervisor::Unchecked(None));
        }
        let found = find_supervisor(self.location.directory())?;
        Ok(found
            .map_or(Supervisor::Dead(None), |found| Supervisor::Unchecked(Some(Box::new(found)))))
    }

    /// Returns once something may have changed. The first calls return soon in any case, and the
    /// next one only begins to watch, so that the caller reads the state again.
    pub(crate) async fn changed(&mut self) -> Result<()> {
        if self.glance <= GLANCES.1 {
            match self.released() {
                None => tokio::time::sleep(self.glance).await,
                Some(released) => {
                    // Only output may come before the release.
                    if self.kind == Kind::Record {
                        self.glance = GLANCES.1;
                    }
                    let _ = tokio::time::timeout(self.glance, released).await;
                }
            }
            self.glance *= 2;
            return Ok(());
        }
        if self.begin_to_watch()? {
            return Ok(());
        }
        let watched = async {
            match &self.watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        let died = tokio::select! {
            () = watched => false,
            died = death(&self.supervisor) => {
                died.map_err(|error| self.failed("watch the supervisor of", error))?;
                true
            }
        };
        if died {
            self.supervisor = Supervisor::Dead(Some(Instant::now()));
        }
        Ok(())
    }

    /// Returns what ends once the supervisor is free, or gone. Returns `None` if it is no supervisor of
    /// this process, or is released already.
    fn released(&self) -> Option<impl Future<Output = ()> + use<>> {
        self.watcher.releases.of(self.location.directory())
    }

    /// Begins to watch what is not watched yet. Returns whether anything was begun.
    fn begin_to_watch(&mut self) -> Result<bool> {
        let mut begun = false;
        if self.watch.is_none() {
            let watch = self.watcher.watch(self.location.directory(), self.kind);
            match missing_is_none(watch).map_err(|error| self.failed("watch", error))? {
                Some(watch) => self.watch = Some(watch),
                // The directory is gone; the next `state` reports it.
                None => return Ok(true),
            }
            begun = true;
        }
        Ok(self.check_supervisor()? || begun)
    }

    /// Returns whether the supervisor of an attempt that runs by its record is alive.
    pub(crate) fn is_supervised(&mut self) -> Result<bool> {
        if self.released().is_some() {
            return Ok(true);
        }
        self.check_supervisor()?;
        Ok(matches!(self.supervisor, Supervisor::Alive(..)))
    }

    /// Checks whether the supervisor is alive, and begins to watch for its death. Returns false if this
    /// was done before, or is not possible yet.
    fn check_supervisor(&mut self) -> Result<bool> {
        let Supervisor::Unchecked(Some(supervisor)) = &self.supervisor else { return Ok(false) };
        let seen = supervisor.open().and_then(|liveness| {
            Ok(match liveness {
                Liveness::Alive(fd) => {
                    let death = match OwnChild::find(supervisor.pid()) {
                        Some(child) => Death::Own(child),
                        None => Death::Pidfd(watch_readable(fd)?),
                    };
                    Supervisor::Alive(supervisor.clone(), death)
                }
                Liveness::Dead => Supervisor::Dead(None),
                Liveness::Unknown => Supervisor::Unknown,
            })
        });
        self.supervisor = seen.map_err(|error| self.failed("find the supervisor of", error))?;
        if matches!(self.supervisor, Supervisor::Unknown) {
            let cause = "it is in another PID namespace: its death would go unnoticed";
            return Err(self.failed("see the supervisor of", io::Error::other(cause)));
        }
        Ok(true)
    }

    /// Ends an attempt whose supervisor is dead, `since` then if this process has seen it alive.
    async fn end_lost(&self, since: Option<Instant>) -> Result<()> {
        let location = self.location.clone();
        let ended = tokio::task::spawn_blocking(move || {
            let Some(record) = location.read_record()? else { return Ok(()) };
            if record.is_fenced() || record.ended.is_some() || record.refused.is_some() {
                return Ok(());
            }
            let attempt = location.directory().file_name().unwrap_or_default().to_string_lossy();
            let is_recent = since.is_some_and(|since| since.elapsed() < RECENT);
            let session = record
                .starting
                .as_ref()
                .map(|starting| Session { supervisor: &starting.supervisor, is_recent });
            let groups = record.cgroups();
            kill_orphans(session.as_ref(), &attempt, || {
                let members: io::Result<Vec<_>> =
                    groups.iter().map(|it| cgroup::members(it)).collect();
                Ok(members?.concat())
            })?;
            groups.iter().for_each(|group| cgroup::remove(group));
            location.append(&Entry::Ended(end_without(&record, location.overdue())))
        });
        ended
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map_err(|error| self.failed("end what the dead supervisor has left of", error))
    }

    /// Waits before the retry of a failed operation.
    pub(crate) async fn pause(&self) {
        tokio::time::sleep(RETRY).await;
    }

    fn failed(&self, what: &str, error: io::Error) -> Error {
        Error::new(ErrorKind::Internal, format!("failed to {what} the attempt"))
            .with("directory", self.location.directory().display())
            .caused_by(error)
    }
}

/// Returns once the supervisor is dead.
async fn death(supervisor: &Supervisor) -> io::Result<()> {
    match supervisor {
        Supervisor::Alive(_, Death::Own(child)) => child.death().await,
        Supervisor::Alive(_, Death::Pidfd(pidfd)) => pidfd.readable().await.map(drop),
        Supervisor::Dead(_) => Ok(()),
        Supervisor::Unchecked(_) | Supervisor::Unknown => std::future::pending().await,
    }
}

impl AttemptState {
    fn of(record: Record) -> Self {
        if record.is_fenced() {
            return Self::Fenced;
        }
        match (record.refused, record.ended) {
            (Some(refusal), _) => Self::Refused(refusal),
            (None, Some(end)) => Self::Ended(record.started, end),
            (None, None) => Self::Running(record.started),
        }
    }

    /// Returns the report with which the attempt ended, or `None` while it runs.
    pub(crate) fn report(&self) -> Option<Report> {
        let lost = |message: &str| Report::new(Outcome::Lost { message: message.to_owned() });
        match self {
            Self::Running(_) => None,
            Self::Ended(_, end) => Some(end.report.clone()),
            Self::Gone => {
                Some(lost("there is no record of the attempt: it was removed, or never launched"))
            }
            Self::Fenced => Some(lost("the attempt was withdrawn before it started")),
            Self::Refused(refusal) => Some(Report::new(Outcome::refused(&refusal.error()))),
        }
    }
}

/// Returns the end of an attempt whose supervisor is dead. `overdue` is why this program killed it.
fn end_without(record: &Record, overdue: Option<Cause>) -> End {
    let outcome = match overdue {
        Some(cause) => outcome(None, Some(cause), false),
        None => lost(record),
    };
    let mut report = Report::new(outcome);
    report.started_at = record.started.map(|begin| begin.at);
    report.finished_at = Some(Timestamp::now());
    End::new(report)
}

fn lost(record: &Record) -> Outcome {
    let message = if record.damaged {
        "the record of the attempt is damaged or missing, and no supervisor has the job any more"
    } else if record.started.is_some() {
        "the job's supervisor was killed; the job's remaining processes were killed too"
    } else {
        "the job's supervisor was killed just when it started the job"
    };
    Outcome::Lost { message: message.to_owned() }
}

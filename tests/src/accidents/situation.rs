//! A situation: what happens to a job, and what must come of it.

use std::fmt;
use std::sync::Arc;

use super::stage::Stage;
use crate::backend::Backend;
use crate::check::Checked;
use crate::lab::Lab;
use crate::running::Ran;

/// A runner, and the server behind it, on which situations are played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Site {
    Process,
    Docker,
    /// The current Docker engine.
    Docker29,
    Kubernetes,
}

pub(super) const EVERYWHERE: &[Site] =
    &[Site::Process, Site::Docker, Site::Docker29, Site::Kubernetes];
pub(super) const CONTAINERS: &[Site] = &[Site::Docker, Site::Docker29, Site::Kubernetes];
pub(super) const ENGINES: &[Site] = &[Site::Docker, Site::Docker29];
pub(super) const NO_CLUSTER: &[Site] = &[Site::Process, Site::Docker, Site::Docker29];
pub(super) const NO_ENGINE: &[Site] = &[Site::Process, Site::Kubernetes];
pub(super) const PROCESS: &[Site] = &[Site::Process];
pub(super) const CLUSTER: &[Site] = &[Site::Kubernetes];

impl Site {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
            Self::Docker29 => "docker29",
            Self::Kubernetes => "kubernetes",
        }
    }

    pub(super) const fn backend(self) -> Backend {
        match self {
            Self::Process => Backend::Process,
            Self::Docker | Self::Docker29 => Backend::Docker,
            Self::Kubernetes => Backend::Kubernetes,
        }
    }

    /// Returns the lab in which this site's server is the one to use.
    pub(super) fn lab(self) -> Arc<Lab> {
        let mut lab = Lab::from_env();
        if self == Self::Docker29 {
            lab.docker_host = lab.docker29_host.take();
        }
        Arc::new(lab)
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Plays an accident, and returns how `longshore run` ended.
pub(super) type Accident = fn(&mut Stage) -> Checked<Ran>;

/// One row of the table, for each of its sites.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    pub(super) name: &'static str,
    pub(super) sites: &'static [Site],
    pub(super) accident: Accident,
    pub(super) expected: Expected,
    /// How many seconds the command's clock is ahead of the machine's, if it has its own.
    pub(super) clock: Option<i64>,
    /// Whether no other row may be played meanwhile.
    pub(super) alone: bool,
}

/// What must come of a situation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// The kind of the outcome.
    pub(super) kind: &'static str,
    /// The exit code of the command.
    pub(super) code: i32,
    /// What the command must say about it.
    pub(super) words: &'static [&'static str],
    /// The longest time from the start of `longshore run` to its end, in seconds.
    pub(super) within: u64,
    /// How often the job is started, by its own count.
    pub(super) starts: Starts,
}

/// How often a job is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Starts {
    Never,
    Once,
    /// Another client restarts the job, which Longshore cannot prevent and must report.
    ByOthers,
}

impl Starts {
    pub(super) const fn allows(self, starts: usize) -> bool {
        match self {
            Self::Never => starts == 0,
            Self::Once => starts == 1,
            Self::ByOthers => starts >= 1,
        }
    }
}

/// Returns a row.
pub(super) const fn on(
    sites: &'static [Site],
    name: &'static str,
    accident: Accident,
    expected: Expected,
) -> Situation {
    Situation { name, sites, accident, expected, clock: None, alone: false }
}

impl Situation {
    /// Returns the row, whose command has a clock that is so many seconds ahead of the machine's.
    pub(super) const fn clock(mut self, ahead: i64) -> Self {
        self.clock = Some(ahead);
        self
    }

    /// Returns the row, which is played alone because its accident happens to the lab's node.
    pub(super) const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }
}

/// The time limit of a row that waits for nothing but its job.
const SOON: u64 = 45;

/// The job ran once and ended by itself with `code`.
pub(super) const fn exits(code: i32) -> Expected {
    ends("Exited", code, &[])
}

/// The job ran once, and its end is not known.
pub(super) const fn lost(words: &'static [&'static str]) -> Expected {
    ends("Lost", 125, words)
}

/// The job ran once and ended as `kind`; the command exits with `code`.
pub(super) const fn ends(
    kind: &'static str,
    code: i32,
    words: &'static [&'static str],
) -> Expected {
    Expected { kind, code, words, within: SOON, starts: Starts::Once }
}

/// The job never started.
pub(super) const fn refused(
    kind: &'static str,
    code: i32,
    words: &'static [&'static str],
) -> Expected {
    Expected { kind, code, words, within: SOON, starts: Starts::Never }
}

impl Expected {
    pub(super) const fn within(mut self, seconds: u64) -> Self {
        self.within = seconds;
        self
    }

    pub(super) const fn started(mut self, starts: Starts) -> Self {
        self.starts = starts;
        self
    }
}

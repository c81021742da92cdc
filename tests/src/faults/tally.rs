//! Counts the fates of all killed jobs of a backend.

use super::kill::Fate;

/// The counts for all killed jobs of a backend.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) kills: usize,
    pub(super) jobs: usize,
    pub(super) starts: usize,
    pub(super) outcomes: usize,
    /// The jobs that are lost, and why.
    pub(super) lost: Vec<String>,
    /// How many extra Pods Kubernetes created and started on its own.
    pub(super) second_pods: usize,
    /// The jobs that were started more than once for other reasons, and where they were started.
    pub(super) doubled: Vec<String>,
}

impl Tally {
    pub(super) fn note(&mut self, name: &str, by_kill: bool, fate: &Fate) {
        self.kills += usize::from(by_kill);
        self.jobs += 1;
        self.starts += fate.starts.len();
        self.outcomes += usize::from(fate.has_outcome());
        self.second_pods += fate.second_pods();
        if let Some(why) = fate.loss() {
            self.lost.push(format!("{name}: {why}"));
        }
        if fate.is_doubled() {
            self.doubled.push(format!("{name}: started on {:?}", fate.starts));
        }
    }

    pub(super) const HEAD: &str =
        "backend     kills   jobs  starts  outcomes   lost  doubled  second Pods\n";

    pub(super) fn line(&self, backend: &str) -> String {
        let Self { kills, jobs, starts, outcomes, second_pods, lost, doubled } = self;
        let (lost, doubled) = (lost.len(), doubled.len());
        format!(
            "{backend:<10}  {kills:>5}  {jobs:>5}  {starts:>6}  {outcomes:>8}  {lost:>5}  \
             {doubled:>7}  {second_pods:>11}\n"
        )
    }
}

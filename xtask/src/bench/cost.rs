//! What a command costs, compared with another command.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wait4::Wait4;

/// What a command cost, together with the processes that it waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    pub time: Duration,
    /// User and system time.
    pub cpu: Duration,
    /// The largest resident set of one process, in bytes.
    pub memory: u64,
}

impl Cost {
    /// Returns the cost of `command`, whose output nobody reads. Fails if the command fails.
    pub(crate) fn of(command: &mut Command) -> Result<Self> {
        let line = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let begun = Instant::now();
        let child = command.spawn().with_context(|| format!("failed to start {line}"))?;
        let end = child.wait4()?;
        let time = begun.elapsed();
        ensure!(end.status.success(), "{line}: {}", end.status);
        let cpu = end.rusage.utime + end.rusage.stime;
        Ok(Self { time, cpu, memory: end.rusage.maxrss })
    }

    /// Returns the cost of doing `self` and then `next`.
    pub(crate) fn then(self, next: Self) -> Self {
        Self {
            time: self.time + next.time,
            cpu: self.cpu + next.cpu,
            memory: self.memory.max(next.memory),
        }
    }
}

/// The costs of the same work in two ways, measured in turn.
#[derive(Debug, Default)]
pub(crate) struct Pair {
    ours: Vec<Cost>,
    theirs: Vec<Cost>,
}

impl Pair {
    /// Measures each way `rounds` times. One round of each comes first and does not count.
    pub(crate) fn measure(
        rounds: u32,
        mut ours: impl FnMut() -> Result<Cost>,
        mut theirs: impl FnMut() -> Result<Cost>,
    ) -> Result<Self> {
        let mut pair = Self::default();
        ours()?;
        theirs()?;
        for _ in 0..rounds {
            pair.ours.push(ours()?);
            pair.theirs.push(theirs()?);
        }
        Ok(pair)
    }

    /// Returns the medians of `part` in both ways.
    pub(crate) fn medians(&self, part: fn(&Cost) -> f64) -> (f64, f64) {
        (median(self.ours.iter().map(part)), median(self.theirs.iter().map(part)))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_works_costs_its_own_time() {
        let busy = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
        let cost = Cost::of(Command::new("sh").args(["-c", busy])).unwrap();
        assert!(cost.cpu > Duration::ZERO && cost.cpu <= cost.time * 2, "{cost:?}");
        assert!(cost.memory > 1 << 16, "{cost:?}");
        assert!(Cost::of(Command::new("sh").args(["-c", "exit 3"])).is_err());
    }

    #[test]
    fn medians_leave_out_the_first_round() {
        let mut millis = [900, 1, 3, 2].into_iter().map(Duration::from_millis);
        let ours = || Ok(Cost { time: millis.next().unwrap(), ..Cost::default() });
        let theirs = || Ok(Cost { time: Duration::from_millis(4), ..Cost::default() });
        let pair = Pair::measure(3, ours, theirs).unwrap();
        assert_eq!(pair.medians(|cost| cost.time.as_secs_f64()), (0.002, 0.004));
    }
}

//! A runner of the service's own: local processes, but only while the machine has capacity to spare.

use std::time::Duration;

use async_trait::async_trait;
use longshore::config::ProcessConfig;
use longshore::runner::{
    Error, ErrorKind, Forward, Forwarding, Health, ProcessRunner, Result, Runner, RunnerName,
};

/// How long jobs pass the runner over once the machine is busy.
const PAUSE: Duration = Duration::from_secs(5);

/// Passes on every call to a runner for local processes, except the question whether it can take
/// work. The dispatcher asks it every few seconds while jobs come in.
#[derive(Debug)]
struct Spare {
    processes: ProcessRunner,
    /// The load average from which on it takes no more jobs.
    max_load: f64,
}

/// Creates the runner. Jobs pass it over while the load average is `max_load` or more.
pub fn spare(name: RunnerName, config: ProcessConfig, max_load: f64) -> impl Runner {
    Forwarding(Spare { processes: ProcessRunner::new(name, config), max_load })
}

#[async_trait]
impl Forward for Spare {
    fn inner(&self) -> &dyn Runner {
        &self.processes
    }

    async fn probe(&self) -> Result<Health> {
        // Of the last minute, in units of 1/65,536 (sysinfo(2)).
        let load = rustix::system::sysinfo().loads[0] as f64 / 65_536.0;
        if load >= self.max_load {
            let busy = format!("the load average is {load:.2}, the limit {}", self.max_load);
            return Err(Error::new(ErrorKind::Saturated, busy).retry_after(PAUSE));
        }
        let mut health = self.processes.probe().await?;
        health.push_fact("load average", load);
        Ok(health)
    }
}

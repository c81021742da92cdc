//! The stage: where one situation is played, with one job.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::situation::Site;
use crate::backend::Backend;
use crate::bench::Bench;
use crate::check::{Checked, until};
use crate::command::Longshore;
use crate::folders::JobDirectory;
use crate::leftovers;
use crate::running::{Ran, Running};

/// How long the traces of a job may take to disappear after `gc`: a Pod that was deleted has a grace
/// period.
const CLEARED: Duration = Duration::from_secs(75);

/// How long a command may take at most: its row's own limit is what counts.
const LONGEST: Duration = Duration::from_secs(200);

/// Says that it runs, and then does so until the file `go` is in its input, or for two minutes.
pub(super) const WAITS: &str = "echo begun; n=0; until [ -e {jobDir}/input/go ] || [ $n -gt 600 ]; \
                                 do n=$((n + 1)); sleep 0.2; done; exit 5";

/// Undoes a change of the server.
type Restore = Box<dyn FnOnce(&Stage) -> Checked + Send>;

/// The stage of one row.
pub(super) struct Stage {
    pub(super) bench: Bench,
    /// The job directory, in which the job counts its starts.
    pub(super) directory: JobDirectory,
    /// The value of the label `accident` of the job, by which its objects are found.
    pub(super) mark: String,
    /// Whether the job has a job directory.
    pub(super) counts: bool,
    begun: Option<Instant>,
    took: Option<Duration>,
    /// What restores the server, in the order in which it was changed.
    restore: Vec<Restore>,
}

impl Stage {
    pub(super) fn new(site: Site, name: &str) -> Result<Self> {
        let bench = Bench::new(site.lab(), site.backend(), name)?;
        let directory = bench.folders.job_directory("job")?;
        let own = bench.folders.root().file_name().unwrap_or_default().to_string_lossy();
        let own: String = own.chars().filter(char::is_ascii_alphanumeric).collect();
        let mark = own.to_lowercase();
        let restore = Vec::new();
        Ok(Self { bench, directory, mark, counts: true, begun: None, took: None, restore })
    }

    /// Registers what undoes a change of the server.
    pub(super) fn afterwards(&mut self, restore: impl FnOnce(&Self) -> Checked + Send + 'static) {
        self.restore.push(Box::new(restore));
    }

    /// Undoes all changes of the server, the last first.
    pub(super) fn restore(&mut self) -> Checked {
        let mut result = Ok(());
        while let Some(restore) = self.restore.pop() {
            result = result.and(restore(self));
        }
        result
    }

    /// Returns `longshore run FLAGS -- sh -c SCRIPT`, whose job counts its start first.
    pub(super) fn command(&self, flags: &[&str], script: &str) -> Result<Longshore> {
        let script = if self.counts {
            format!("echo start >> {{jobDir}}/output/trace; {script}")
        } else {
            script.to_owned()
        };
        self.argv(flags, &["sh", "-c", &script])
    }

    /// Returns the command of [`command`](Self::command), with another image.
    pub(super) fn with_image(
        &self,
        image: &str,
        flags: &[&str],
        script: &str,
    ) -> Result<Longshore> {
        let script = format!("echo start >> {{jobDir}}/output/trace; {script}");
        let label = format!("accident={}", self.mark);
        let command = self.bench.longshore()?.arg("run").result(self.bench.folders.result());
        let command = command.args(["--image", image, "--label", &label, "--job-dir"]);
        let command = command.arg(self.directory.path()).args(flags);
        Ok(command.args(["--", "sh", "-c", &script]))
    }

    /// Returns `longshore run FLAGS -- ARGV`.
    pub(super) fn argv(&self, flags: &[&str], argv: &[&str]) -> Result<Longshore> {
        let label = format!("accident={}", self.mark);
        let folder = self.directory.path().to_string_lossy().into_owned();
        let mut all = vec!["--label", &label];
        if self.counts {
            all.extend(["--job-dir", &folder]);
        }
        all.extend(flags);
        self.bench.job(&all, argv)
    }

    /// Starts the clock and the command.
    pub(super) fn spawn(&mut self, command: Longshore) -> Result<Running> {
        self.begun = Some(Instant::now());
        command.spawn()
    }

    /// Waits for the command's end and stops the clock.
    pub(super) fn finish(&mut self, running: Running) -> Result<Ran> {
        let ran = running.finish_within(LONGEST)?;
        self.took = self.begun.map(|begun| begun.elapsed());
        Ok(ran)
    }

    /// Runs `command` to its end.
    pub(super) fn run(&mut self, command: Longshore) -> Result<Ran> {
        let running = self.spawn(command)?;
        self.finish(running)
    }

    /// Runs a job to its end.
    pub(super) fn script(&mut self, script: &str) -> Result<Ran> {
        let command = self.command(&[], script)?;
        self.run(command)
    }

    /// Starts a job, and returns once it has printed `begun`.
    pub(super) fn start(&mut self, flags: &[&str], script: &str) -> Result<Running> {
        let command = self.command(flags, script)?;
        self.started(command)
    }

    /// Starts `command`, and returns once its job has printed `begun`.
    pub(super) fn started(&mut self, command: Longshore) -> Result<Running> {
        let running = self.spawn(command)?;
        running.until_stdout("begun")?;
        Ok(running)
    }

    /// Starts a job that [`WAITS`].
    pub(super) fn waiting(&mut self) -> Result<Running> {
        self.start(&[], WAITS)
    }

    /// Lets a job that [`WAITS`] end with 5, and waits for the command's end.
    pub(super) fn let_go(&mut self, running: Running) -> Result<Ran> {
        self.directory.input("go", "")?;
        self.finish(running)
    }

    /// Writes a job file, and returns its path.
    pub(super) fn file(&self, text: &str) -> Result<String> {
        Ok(self.bench.folders.file("job.toml", text)?.to_string_lossy().into_owned())
    }

    pub(super) const fn took(&self) -> Option<Duration> {
        self.took
    }

    /// Returns the id of this row's only job.
    pub(super) fn id(&self) -> Result<String> {
        let records = self.records()?;
        let id = records.first().and_then(|record| record["job"].as_str());
        id.map(str::to_owned).context("no job is on record")
    }

    fn records(&self) -> Result<Vec<Value>> {
        let ran = self.bench.longshore()?.args(["ps", "--all", "--output", "json"]).run()?;
        ran.exits(0)?;
        serde_json::from_slice(&ran.stdout).context("ps printed no list")
    }

    /// Waits for the job with another command, and stops the clock. Returns how that command ended,
    /// with the job's record as its result.
    pub(super) fn waited(&mut self, id: &str) -> Result<Ran> {
        let command = self.bench.longshore()?.args(["wait", id, "--output", "json"]);
        let mut ran = command.run()?;
        self.took = self.begun.map(|begun| begun.elapsed());
        let records: Vec<Value> = serde_json::from_slice(&ran.stdout)
            .with_context(|| format!("wait printed no list: {}", ran.stderr))?;
        ran.result = records.into_iter().next();
        Ok(ran)
    }

    /// Returns how often the job was started, by its own count.
    pub(super) fn starts(&self) -> usize {
        let trace = self.directory.output("trace").unwrap_or_default();
        trace.lines().filter(|line| *line == "start").count()
    }

    /// Removes what is left of the job with `gc`, and by force what `gc` keeps. Fails if anything is
    /// left then, and returns how many jobs needed force.
    pub(super) fn clear(&self) -> Result<usize> {
        // Some jobs may have run as a local process instead.
        let both = [self.bench.backend, Backend::Process];
        let longshore =
            || self.bench.with(&both[..1 + usize::from(self.bench.backend.has_images())]);
        let gc = || longshore()?.args(["gc", "--older-than", "0s"]).run();
        gc()?.exits(0)?;
        let mut forced = 0;
        // A job that was launched by another address is only given up. It is then found without a record.
        for _ in 0..2 {
            let records = self.records()?;
            let ids: Vec<_> = records.iter().filter_map(|record| record["job"].as_str()).collect();
            for id in &ids {
                longshore()?.args(["rm", "--force", id]).run()?.exits(0)?;
            }
            if ids.is_empty() {
                break;
            }
            forced += ids.len();
            gc()?.exits(0)?;
        }
        let mut left = Vec::new();
        until(CLEARED, "nothing to be left", || {
            left = leftovers::look(&self.bench.lab, &[self.bench.backend], &[self.bench.trace()])?;
            left.extend(self.kept().iter().map(|path| path.display().to_string()));
            Ok(left.is_empty().then_some(()))
        })
        .with_context(|| left.join("; "))?;
        Ok(forced)
    }

    /// Returns the folder in which local processes have their attempts.
    pub(super) fn attempts(&self) -> PathBuf {
        self.bench.folders.state().join("process/attempts")
    }

    /// Returns the folders of attempts with output.
    pub(super) fn kept(&self) -> Vec<PathBuf> {
        let found = fs::read_dir(self.attempts()).into_iter().flatten().flatten();
        found.map(|entry| entry.path()).filter(|path| path.join("stdout").exists()).collect()
    }
}

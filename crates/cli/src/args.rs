//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use jiff::Timestamp;
use longshore::image::ImageRef;
use longshore::job::{HumanDuration, Signal};
use longshore::runner::RunnerName;

use crate::arg_values::{duration, moment};
use crate::complete;
use crate::config_args::ConfigArgs;
use crate::deferred::Deferred;
use crate::detach_keys::DetachKeys;
use crate::job_args::JobArgs;
use crate::selection::JobFilter;
use crate::template::Template;

/// Runs a job on the first runner that can take it: Kubernetes, Docker or a local process.
#[derive(Debug, Parser)]
#[command(name = "longshore", version, about, max_term_width = 100)]
pub struct Cli {
    /// Print more on stderr (twice: everything); LONGSHORE_LOG sets a custom filter
    #[arg(long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a job and wait for it to end
    ///
    /// The job's output goes to stdout and stderr as it arrives, a summary goes to stderr. The exit
    /// code is the job's own; 124 if it timed out, 125 if it could not be run, 126 or 127 if its
    /// command cannot be executed or found. Ctrl-C cancels the job, a second Ctrl-C kills it.
    ///
    /// With --detach, the command returns once the job has started, and prints the job's ID for the
    /// commands `ps`, `wait`, `logs`, `inspect`, `cancel` and `rm`. If the job's runner does not
    /// enforce the job's timeout, a background process does.
    #[command(
        after_help = "Examples:\n  longshore run --image busybox:1.37 echo hello\n  longshore run -e LANG=C --timeout 10m ./script.sh\n  longshore run -it --image busybox:1.37 sh"
    )]
    Run(Deferred<RunArgs>),
    /// List jobs that have not ended, or all recorded jobs
    #[command(
        after_help = "Examples:\n  longshore ps --all --filter name=nightly\n  longshore ps --format '{{.ID}} {{.Outcome}}' -n 5"
    )]
    Ps(Deferred<PsArgs>),
    /// Wait for jobs to end; exit with the job's own exit code
    ///
    /// With several jobs, the exit code is that of the first one, in the given order, that is not 0.
    /// Ctrl-C stops the waiting, not the jobs.
    #[command(
        after_help = "Examples:\n  longshore wait nightly\n  longshore wait --any 9b98ykrc w3hp0z5t"
    )]
    Wait(Deferred<WaitArgs>),
    /// Print the output of jobs, one after the other
    ///
    /// With --follow, it also waits for a job that is still being launched.
    #[command(
        after_help = "Examples:\n  longshore logs --follow --tail 20 nightly\n  longshore logs --timestamps --since 10m nightly"
    )]
    Logs(Deferred<LogsArgs>),
    /// Attach to a job that runs: print its output from now on, and pass signals on
    ///
    /// The exit code is the job's own. Ctrl-C and other signals are passed on to the job's main
    /// process; where its runner cannot do that, Ctrl-C cancels the job, and a second one kills it. With
    /// --sig-proxy=false, Ctrl-C ends this command, and the job goes on. If the job has a stdin that
    /// nobody has opened, it gets the stdin of this command.
    ///
    /// A job that was started with -it, or with -dit, gets what is typed here, and the keys to detach
    /// end this command. Any number of commands may be attached to it.
    #[command(
        after_help = "Examples:\n  longshore attach nightly\n  longshore attach --sig-proxy=false 9b98ykrc"
    )]
    Attach(Deferred<AttachArgs>),
    /// Run a command in a job that runs, with the job's environment, working directory and user
    ///
    /// The exit code is that of the command; 125 if Longshore could not run it, 126 or 127 if it cannot
    /// be executed or found. The job's outcome and output do not change. Ctrl-C ends this command, and
    /// not the command in the job: that one notices that its stdin and its output are closed, and ends
    /// with the job at the latest.
    #[command(
        after_help = "Examples:\n  longshore exec nightly ps\n  longshore exec -i 9b98ykrc sh < script.sh"
    )]
    Exec(Deferred<ExecArgs>),
    /// Print the whole record of a job, as JSON, or an array of several records
    #[command(after_help = "Examples:\n  longshore inspect 9b98ykrc")]
    Inspect(Deferred<SomeJobs>),
    /// Cancel jobs and wait for them to end: TERM, the grace period, KILL
    #[command(
        visible_alias = "stop",
        after_help = "Examples:\n  longshore cancel --grace 1m nightly\n  longshore stop --all"
    )]
    Cancel(Deferred<CancelArgs>),
    /// Kill jobs and wait for them to end: `cancel` without a grace period; or send another signal
    ///
    /// With --signal, the command sends the signal to each job's main process, prints the job's ID,
    /// and does not wait. What the job does then is its own affair: it is not cancelled. Kubernetes has
    /// no way to send a signal: there, TERM cancels the job with its own grace period, as `cancel` does.
    #[command(
        after_help = "Examples:\n  longshore kill nightly\n  longshore kill --signal HUP nightly"
    )]
    Kill(Deferred<KillArgs>),
    /// Remove jobs that have ended: their output and their record
    #[command(after_help = "Examples:\n  longshore rm --force 9b98ykrc")]
    Rm(Deferred<RmArgs>),
    /// Remove leftovers of old jobs from the runners
    ///
    /// Removes jobs that ended longer than job.retention ago, and attempts that never started.
    /// Records jobs that have no record: their age counts from now. Running jobs are never touched,
    /// nor those of other installations.
    #[command(after_help = "Examples:\n  longshore gc --dry-run")]
    Gc(Deferred<GcArgs>),
    /// Show what each runner would submit for a job, or why it would be passed over; start nothing
    #[command(after_help = "Examples:\n  longshore plan --file job.toml")]
    Plan(Deferred<JobArgs>),
    /// Check whether each runner would take a job now, and why not; change nothing
    ///
    /// Kubernetes checks a sample job and its Pod in a dry run: Pod Security, quotas, limit ranges,
    /// admission, the service account and the pull secrets. What could not be checked is a note.
    ///
    /// Exit codes: 0 if at least one runner would take the job, 1 if none would or if the login for
    /// the given image is unavailable, 2 for a wrong command line, 125 for a wrong configuration.
    /// To monitor one runner, name it with --runners.
    #[command(
        after_help = "Examples:\n  longshore doctor --image registry.example/tool:1\n  longshore doctor --runners kubernetes --output json"
    )]
    Doctor(Deferred<DoctorArgs>),
    /// Show the configuration or its schema
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    ///
    /// It completes options, and the IDs and names of jobs, runners, and keys of the configuration.
    #[command(after_help = "Examples:\n  source <(longshore completions bash)")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page of the command, or write those of all commands
    ///
    /// To read one: `longshore man run | man -l -`.
    Man(Deferred<ManArgs>),
}

/// The default of docker.
const DETACH_KEYS: &str = "ctrl-p,ctrl-q";

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Print the page of this command, such as `run` or `config show`
    #[arg(value_name = "COMMAND", conflicts_with = "directory")]
    pub command: Vec<String>,
    /// Write the pages of all commands into this existing folder
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print each effective value and its origin
    Show(ConfigArgs),
    /// Print the JSON schema of the configuration
    Schema,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Check a job with this image, and show what is known about it: its pull policy, whether it is
    /// present, and the login for its registry
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<ImageRef>,
    /// Ask only these runners, in this order
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', add = complete::runners())]
    pub runners: Option<Vec<RunnerName>>,
    /// Output format: lines for people, or JSON with the schema conf/doctor.schema.json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub output: ReportFormat,
    #[command(flatten)]
    pub config: ConfigArgs,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Write the job's result to FILE, as JSON
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "detach")]
    pub result: Option<PathBuf>,
    /// Return once the job has started, and print its ID
    #[arg(short, long)]
    pub detach: bool,
    /// The keys that leave the job running and end this command, which prints the job's ID; for -it
    #[arg(long, value_name = "KEYS", default_value = DETACH_KEYS, help_heading = "Environment")]
    pub detach_keys: DetachKeys,
    /// Run the job once, however often it is submitted with KEY
    ///
    /// A second submission of the same job with KEY is the first one: the command waits for that
    /// job. A different job with KEY is refused. The key is kept as long as the job's record.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Keep the job's output and record until `rm`, as --detach does
    #[arg(long)]
    pub keep: bool,
    /// Remove the job once it has ended, which is the default
    #[arg(long, hide = true, conflicts_with_all = ["detach", "keep"])]
    pub rm: bool,
    /// Print no summary, no progress and no warnings on stderr, only errors
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct PsArgs {
    /// Also list jobs that have ended
    #[arg(short, long)]
    pub all: bool,
    /// Print only the IDs
    #[arg(short, long, conflicts_with_all = ["output", "format"])]
    pub quiet: bool,
    /// List the newest COUNT jobs, ended ones too
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub last: Option<usize>,
    /// List only jobs with this name, state, runner or label=KEY=VALUE; all filters apply
    #[arg(long, value_name = "KEY=VALUE", value_parser = JobFilter::parse, add = complete::filters())]
    pub filter: Vec<JobFilter>,
    /// Print a line for each job, such as '{{.ID}} {{.Name}}', or an array of all records with json
    ///
    /// The fields are ID, Name, Command, Image, Runner, State, Age, Outcome, Submitted and Labels.
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "output", value_parser = Template::parse)]
    pub format: Option<Template>,
    /// Output format: a table for people, or an array of JSON results
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub output: ListFormat,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// The format of a list of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    Table,
    Json,
}

/// The format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    Text,
    Json,
}

/// The format of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecordFormat {
    Json,
}

/// Recorded jobs.
#[derive(Debug, Args)]
pub struct SomeJobs {
    /// Each job's ID, at least its first four characters, or a name, which is the newest job with it
    #[arg(value_name = "JOB", required = true, add = complete::jobs())]
    pub jobs: Vec<String>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Recorded jobs, or all that have not ended.
#[derive(Debug, Args)]
pub struct OpenJobs {
    /// Each job's ID, at least its first four characters, or a name, which is the newest job with it
    #[arg(value_name = "JOB", required_unless_present = "all", add = complete::open_jobs())]
    pub jobs: Vec<String>,
    /// All jobs that have not ended
    #[arg(short, long, conflicts_with = "jobs")]
    pub all: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

#[derive(Debug, Args)]
pub struct WaitArgs {
    #[command(flatten)]
    pub open: OpenJobs,
    /// Wait only for the first job to end; its exit code counts
    #[arg(long)]
    pub any: bool,
    /// Print an array with the jobs' results on stdout
    #[arg(long, value_name = "FORMAT")]
    pub output: Option<RecordFormat>,
    /// Internal: the background process of `run --detach`; reads settings from stdin, prints
    /// nothing on stderr
    #[arg(long, hide = true)]
    pub left_behind: bool,
}

#[derive(Debug, Args)]
pub struct LogsArgs {
    #[command(flatten)]
    pub some: SomeJobs,
    /// Continue until the job has ended
    #[arg(short, long)]
    pub follow: bool,
    /// Print only the last COUNT lines of what exists now
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub tail: Option<usize>,
    /// Print only lines since TIME: a duration before now, a date and time, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<Timestamp>,
    /// Print only lines until TIME, and do not follow the job any longer
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<Timestamp>,
    /// Print the time at which its runner received it before each line
    #[arg(short, long)]
    pub timestamps: bool,
}

#[derive(Debug, Args)]
pub struct AttachArgs {
    /// The job's ID, at least its first four characters, or a name, which is the newest job with it
    #[arg(value_name = "JOB", add = complete::open_jobs())]
    pub job: String,
    /// Do not give the job the stdin of this command
    #[arg(long)]
    pub no_stdin: bool,
    /// The keys that end this command and leave the job running, if the job has a terminal
    #[arg(long, value_name = "KEYS", default_value = DETACH_KEYS)]
    pub detach_keys: DetachKeys,
    /// Pass signals on to the job
    #[arg(
        long,
        value_name = "BOOL",
        default_value = "true",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set
    )]
    pub sig_proxy: bool,
    #[command(flatten)]
    pub config: ConfigArgs,
}

#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Give the command the stdin of this command
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the command a terminal; with -it, it is that of this command
    #[arg(short, long)]
    pub tty: bool,
    /// The keys that end this command and leave the command in the job running; for -it
    #[arg(long, value_name = "KEYS", default_value = DETACH_KEYS)]
    pub detach_keys: DetachKeys,
    /// Set an environment variable; NAME alone takes the value from this environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Set the environment variables in FILE, one NAME[=VALUE] a line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub env_file: Vec<PathBuf>,
    /// Working directory of the command, as the job sees it, instead of that of the job
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Run as this user, instead of that of the job
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The job's ID, at least its first four characters, or a name, which is the newest job with it
    #[arg(value_name = "JOB", add = complete::open_jobs())]
    pub job: String,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct CancelArgs {
    #[command(flatten)]
    pub open: OpenJobs,
    /// The time between TERM and KILL, instead of the job's own
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub grace: Option<HumanDuration>,
}

#[derive(Debug, Args)]
pub struct KillArgs {
    #[command(flatten)]
    pub open: OpenJobs,
    /// The signal, such as HUP, SIGHUP or 1
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL", add = complete::signals())]
    pub signal: Signal,
}

#[derive(Debug, Args)]
pub struct RmArgs {
    #[command(flatten)]
    pub some: SomeJobs,
    /// Kill jobs that have not ended, and give up jobs whose runner or backend is not configured
    #[arg(short, long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct GcArgs {
    /// Only show what would be removed, and why
    #[arg(long)]
    pub dry_run: bool,
    /// Remove jobs that ended longer than this ago, instead of job.retention
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub older_than: Option<HumanDuration>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}

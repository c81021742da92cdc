//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use longshore::{HumanDuration, ImageRef, PullPolicies, RunnerName};

/// Runs a job on the first runner that can take it: Kubernetes, Docker or a local process.
#[derive(Debug, Parser)]
#[command(name = "longshore", version, about, max_term_width = 100)]
pub struct Cli {
    /// Say more on stderr (twice: everything); LONGSHORE_LOG sets a filter of its own
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a job and wait for its end
    ///
    /// The job's output goes to stdout and stderr as it comes, a summary to stderr. The exit code
    /// is the job's own; 124 if it ran out of time, 125 if it could not be run, 126 or 127 if its
    /// command cannot be executed or found. Ctrl-C cancels the job, a second one kills it.
    Run(Box<RunArgs>),
    /// Show what each runner would submit for a job, or why it would be passed over; start nothing
    Plan(Box<JobArgs>),
    /// Ask each configured runner whether it can take work; exit with 1 if none can
    Doctor(DoctorArgs),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print each effective value and where it came from
    Show(ConfigArgs),
    /// Print the JSON schema of the configuration
    Schema,
}

/// Where the configuration comes from.
#[derive(Debug, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file (.toml, .yaml, .json, or HOCON .conf)
    ///
    /// Without it: longshore.toml in $XDG_CONFIG_HOME/longshore or /etc/longshore, if there is one.
    #[arg(long, value_name = "FILE", env = "LONGSHORE_CONFIG", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Set a key of the configuration, such as job.docker.host=unix:///run/docker.sock
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Tell also what is known of this image: its pull policy, whether it is present, which login
    /// its registry would be shown
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<ImageRef>,
    #[command(flatten)]
    pub config: ConfigArgs,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub job: JobArgs,
    /// Write what became of the job to FILE, as JSON
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub result: Option<PathBuf>,
    /// No summary and no progress on stderr
    #[arg(short, long)]
    pub quiet: bool,
}

/// A job, from a file, from flags, or from a file changed by flags.
#[derive(Debug, Default, Args)]
pub struct JobArgs {
    /// Job file (.toml, .yaml or .json); flags change what it says
    #[arg(value_name = "JOBFILE", value_hint = ValueHint::FilePath)]
    pub job_file: Option<PathBuf>,
    /// Run in a container of this image
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<ImageRef>,
    /// Allow the job as a local process with this command line (split as a shell splits words)
    #[arg(long, value_name = "COMMAND LINE", value_parser = words)]
    pub process: Option<Words>,
    /// Try only these runners, in this order
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub runners: Option<Vec<RunnerName>>,
    /// When to pull the image: Always, IfNotPresent, Never, or several, tried in turn while the
    /// registry gives no answer
    #[arg(long, value_name = "POLICY,...")]
    pub pull_policy: Option<PullPolicies>,
    /// Folder with input/ (read-only to the job) and output/; {jobDir} in arguments names it
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub job_dir: Option<PathBuf>,
    /// Set an environment variable; NAME alone takes the value from this environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Set an environment variable from file:PATH or env:NAME; its value is never shown
    #[arg(long, value_name = "NAME=SOURCE", value_parser = key_value)]
    pub secret_env: Vec<(String, String)>,
    /// End the job after this time, such as 90s, 10m or 1h 30m
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<HumanDuration>,
    /// A name for people
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// A label on what is made for the job
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub label: Vec<(String, String)>,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// With an image: the container's arguments; else the local process's command and arguments
    #[arg(last = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// A command line, split into words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

fn words(text: &str) -> Result<Words, String> {
    match shell_words::split(text) {
        Ok(words) if words.is_empty() => Err("it names no command".to_owned()),
        Ok(words) => Ok(Words(words)),
        Err(error) => Err(error.to_string()),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_process_command_line_is_split_as_a_shell_splits_words() {
        assert_eq!(words("sh -c 'a b'").unwrap().0, ["sh", "-c", "a b"]);
        assert!(words("  ").unwrap_err().contains("no command"));
        assert!(words("'").is_err());
    }
}

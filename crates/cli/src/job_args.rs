//! The part of the command line that describes a job.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};
use longshore::image::{ImageRef, PullPolicies};
use longshore::job::{Cpu, HumanDuration, Memory, Volume};
use longshore::runner::RunnerName;

use crate::arg_values::{duration, key_value};
use crate::complete;
use crate::config_args::ConfigArgs;
use crate::job_file;

/// A job, from a file, from flags, or from a file with overrides by flags.
#[derive(Debug, Default, Args)]
pub struct JobArgs {
    /// Job file (.toml, .yaml or .json), or - for stdin; flags override its values
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Run in a container of this image
    #[arg(long, value_name = "IMAGE", help_heading = "Container")]
    pub image: Option<ImageRef>,
    /// Replace the image's entry point
    #[arg(long, value_name = "COMMAND", requires = "image", help_heading = "Container")]
    pub entrypoint: Option<String>,
    /// Allow the job to run as a local process with this command line (split as a shell splits
    /// words)
    #[arg(long, value_name = "COMMAND LINE", value_parser = words)]
    pub process: Option<Words>,
    /// Try only these runners, in this order
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', add = complete::runners())]
    pub runners: Option<Vec<RunnerName>>,
    /// When to pull the image: Always, IfNotPresent, Never, or several, tried in turn while the
    /// registry does not answer
    #[arg(
        long,
        visible_aliases = ["pull", "image-pull-policy"],
        value_name = "POLICY,...",
        help_heading = "Container"
    )]
    pub pull_policy: Option<PullPolicies>,
    /// Folder with input/ (read-only to the job) and output/; its path replaces {jobDir} in
    /// arguments
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Environment")]
    pub job_dir: Option<PathBuf>,
    /// Mount a file or folder of the machine that runs the job: HOST:CONTAINER, then :ro if the job
    /// must not write there
    ///
    /// On Docker, the machine is the engine's. A relative HOST begins with a dot and is relative to the
    /// directory of this command. Kubernetes does not mount files of a machine.
    #[arg(short, long, value_name = "HOST:CONTAINER[:ro]", value_parser = volume, help_heading = "Container")]
    pub volume: Vec<Volume>,
    /// Give the job this many GPUs
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    pub gpus: Option<u32>,
    /// Working directory of the job
    ///
    /// Default: that of the image; for a local process, the job directory if there is one, else
    /// the directory of this command.
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Environment")]
    pub workdir: Option<PathBuf>,
    /// Set an environment variable; NAME alone takes the value from this environment
    #[arg(short, long, value_name = "NAME[=VALUE]", help_heading = "Environment")]
    pub env: Vec<String>,
    /// Set the environment variables in FILE, one NAME[=VALUE] a line
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Environment")]
    pub env_file: Vec<PathBuf>,
    /// Pass on these variables to a local process; a * at the end of a name matches any rest
    ///
    /// Replaces job.process.inheritEnv of the configuration.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', help_heading = "Environment")]
    pub inherit_env: Vec<String>,
    /// Set an environment variable from file:PATH or env:NAME; its value is never shown
    // Split later: an error here would repeat the text, which may be the secret itself.
    #[arg(long, value_name = "NAME=SOURCE", help_heading = "Environment")]
    pub secret_env: Vec<String>,
    /// Give the job this terminal as stdin; a pipe or a file reaches it anyway, unless --tty is set
    #[arg(short, long, conflicts_with = "stdin", help_heading = "Environment")]
    pub interactive: bool,
    /// Give the job a terminal; with -it, it is that of this command
    ///
    /// Its output is then one stream, and each key is passed on to the job: also Ctrl-C.
    #[arg(short, long, help_heading = "Environment")]
    pub tty: bool,
    /// Give the job this file as stdin, or none with /dev/null, instead of the stdin of this command
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Environment")]
    pub stdin: Option<PathBuf>,
    /// Run as this user, by numeric ID
    #[arg(short, long, value_name = "UID[:GID]", value_parser = user, help_heading = "Container")]
    pub user: Option<User>,
    /// Limit of memory, such as 64Mi, 1G or, as docker writes it, 512m
    #[arg(short, long, value_name = "AMOUNT", value_parser = memory, help_heading = "Limits")]
    pub memory: Option<Memory>,
    /// Limit of CPU time, in cores, such as 0.5
    #[arg(long, value_name = "CORES", help_heading = "Limits")]
    pub cpus: Option<Cpu>,
    /// Limit of processes and threads at once
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    pub pids_limit: Option<u32>,
    /// Make the container's root file system read-only
    #[arg(long, help_heading = "Container")]
    pub read_only: bool,
    /// The job's network
    #[arg(long, value_name = "NETWORK", help_heading = "Container")]
    pub network: Option<NetworkArg>,
    /// End the job after this time, such as 90s, 10m or 1h 30m, or a number of seconds
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Limits")]
    pub timeout: Option<HumanDuration>,
    /// A descriptive name of the job
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// A label on the objects that are created for the job
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub label: Vec<(String, String)>,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// With an image: the container's arguments; otherwise the local process's command and
    /// arguments
    ///
    /// A `--` before them is needed only if the first one begins with `-`.
    #[arg(trailing_var_arg = true, value_name = "ARGS", value_hint = ValueHint::CommandWithArguments)]
    pub args: Vec<String>,
}

/// A command line, split into words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

/// A user and, if given, a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub id: u32,
    pub group: Option<u32>,
}

/// A network, by docker's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NetworkArg {
    /// The backend's default network
    #[value(alias = "bridge")]
    Default,
    /// No network except loopback
    None,
}

fn words(text: &str) -> Result<Words, String> {
    match shell_words::split(text) {
        Ok(words) if words.is_empty() => Err("it contains no command".to_owned()),
        Ok(words) => Ok(Words(words)),
        Err(error) => Err(error.to_string()),
    }
}

fn user(text: &str) -> Result<User, String> {
    let number = |text: &str| {
        let refuse = |_| "write it as UID or UID:GID: names are known only to the image".to_owned();
        text.parse().map_err(refuse)
    };
    let (id, group) = match text.split_once(':') {
        Some((id, group)) => (id, Some(number(group)?)),
        None => (text, None),
    };
    Ok(User { id: number(id)?, group })
}

fn volume(text: &str) -> Result<Volume, String> {
    let refuse = || format!("write it as HOST:CONTAINER or HOST:CONTAINER:ro: `{text}` is neither");
    let (paths, read_only) = match text.rsplit_once(':') {
        Some((paths, "ro")) => (paths, true),
        Some((paths, "rw")) => (paths, false),
        _ => (text, false),
    };
    let (host, container) = paths.split_once(':').ok_or_else(refuse)?;
    if container.contains(':') || !container.starts_with('/') {
        return Err(refuse());
    }
    // What begins otherwise is the name of a volume for docker.
    if !host.starts_with(['/', '.']) {
        return Err(format!(
            "Longshore has no named volumes: `{host}` is a folder if it is written ./{host}"
        ));
    }
    let host =
        job_file::absolute(Path::new("."), Path::new(host)).map_err(|error| error.to_string())?;
    let volume = Volume::new(host, container);
    Ok(if read_only { volume.read_only() } else { volume })
}

/// Parses an amount as Kubernetes writes it, or with one of docker's units `b`, `k`, `m` and `g`,
/// which are multiples of 1,024.
fn memory(text: &str) -> Result<Memory, String> {
    let amount = match text.char_indices().next_back() {
        Some((end, unit @ ('b' | 'k' | 'm' | 'g'))) => {
            let number = text.get(..end).unwrap_or_default();
            let unit = match unit {
                'k' => "Ki",
                'm' => "Mi",
                'g' => "Gi",
                _ => "",
            };
            format!("{number}{unit}").parse()
        }
        _ => text.parse(),
    };
    amount.map_err(|error: longshore::job::QuantityError| error.to_string())
}

impl JobArgs {
    /// Adds the settings that options of the job are short for.
    pub fn apply_settings(&mut self) {
        if !self.inherit_env.is_empty() {
            let names = serde_json::Value::from(self.inherit_env.clone()).to_string();
            self.config.set.push(("job.process.inheritEnv".to_owned(), names));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_command_line_is_split_as_a_shell_splits_words() {
        assert_eq!(words("sh -c 'a b'").unwrap().0, ["sh", "-c", "a b"]);
        assert!(words("  ").unwrap_err().contains("no command"));
        assert!(words("'").is_err());
    }

    #[test]
    fn memory_is_read_as_kubernetes_and_docker_write_it() {
        for (text, bytes) in
            [("512m", 512 << 20), ("1g", 1 << 30), ("64k", 64 << 10), ("9b", 9), ("64Mi", 64 << 20)]
        {
            assert_eq!(memory(text).map(Memory::bytes), Ok(bytes), "{text}");
        }
        for text in ["", "m", "-1m", "1x"] {
            assert!(memory(text).unwrap_err().contains("64Mi"), "{text}");
        }
    }

    #[test]
    fn a_volume_is_read_as_docker_writes_it() {
        assert_eq!(volume("/a:/b"), Ok(Volume::new("/a", "/b")));
        assert_eq!(volume("/a/:/b:rw"), Ok(Volume::new("/a", "/b")));
        assert_eq!(volume("/a:/b:ro"), Ok(Volume::new("/a", "/b").read_only()));
        let here = std::env::current_dir().unwrap();
        assert_eq!(volume(".:/b"), Ok(Volume::new(&here, "/b")));
        assert_eq!(volume("./x:/b").unwrap().host_path, here.join("x"));
        for text in ["/a", "/a:b", "/a:/b:z", "/a:/b:ro:rw", ":/b", ""] {
            assert!(volume(text).is_err(), "{text}");
        }
        assert!(volume("data:/b").unwrap_err().contains("./data"));
    }

    #[test]
    fn a_user_is_a_number_and_may_have_a_group() {
        assert_eq!(user("1000"), Ok(User { id: 1000, group: None }));
        assert_eq!(user("1000:100"), Ok(User { id: 1000, group: Some(100) }));
        for text in ["root", "1000:", ":100", "", "-1"] {
            assert!(user(text).is_err(), "{text}");
        }
    }
}

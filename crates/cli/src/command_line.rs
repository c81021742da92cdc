//! Parses the command line, with `run JOBFILE` and hints for options of other programs.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Error, Parser};

use crate::args::{Cli, Command};
use crate::job_args::JobArgs;
use crate::job_file;

/// Parses `words`, which begin with the program.
///
/// `run job.toml` and `plan job.toml` are short for `run --file job.toml` and `plan --file job.toml`,
/// unless the word may also be a command or an argument.
///
/// # Errors
/// If the words are not a valid command line, or if the help or the version is requested.
pub fn parse(words: Vec<OsString>) -> Result<Cli, Error> {
    let mut cli = with_job_file(words)?;
    match &mut cli.command {
        Command::Run(run) => run.job.apply_settings(),
        Command::Plan(job) => job.apply_settings(),
        _ => {}
    }
    Ok(cli)
}

fn with_job_file(words: Vec<OsString>) -> Result<Cli, Error> {
    let cli = Cli::try_parse_from(&words).map_err(hint)?;
    let job = match &cli.command {
        Command::Run(run) => &run.job,
        Command::Plan(job) => job,
        _ => return Ok(cli),
    };
    let Some(first) = job.args.first() else { return Ok(cli) };
    let at = words.len().saturating_sub(job.args.len());
    let after_dashes = at.checked_sub(1).and_then(|at| words.get(at)).is_some_and(|w| w == "--");
    if after_dashes || !job_file::is_named_like_one(Path::new(first)) {
        return Ok(cli);
    }
    match meaning(job, Path::new(first)) {
        Meaning::Argument => Ok(cli),
        Meaning::Ambiguous => Err(usage(&format!(
            "`{first}` is a file, and may be a job file or what to run: write `--file {first}` for \
             the job file, or `-- {first}` to run it"
        ))),
        Meaning::JobFile => {
            let mut words = words;
            if let Some(word) = words.get_mut(at) {
                let mut option = OsString::from("--file=");
                option.push(&*word);
                *word = option;
            }
            Cli::try_parse_from(words).map_err(hint)
        }
    }
}

/// What the first argument means.
enum Meaning {
    JobFile,
    Argument,
    Ambiguous,
}

fn meaning(job: &JobArgs, first: &Path) -> Meaning {
    let metadata = fs::metadata(first);
    let is_file = metadata.as_ref().is_ok_and(fs::Metadata::is_file);
    let executable = metadata.is_ok_and(|it| it.permissions().mode() & 0o111 != 0);
    if job.file.is_some() || job.process.is_some() {
        Meaning::Argument
    } else if job.image.is_some() {
        // The arguments of a container may name files of its image.
        if is_file { Meaning::Ambiguous } else { Meaning::Argument }
    } else if is_file && executable {
        Meaning::Ambiguous
    } else {
        Meaning::JobFile
    }
}

fn usage(message: &str) -> Error {
    Cli::command().error(ErrorKind::ArgumentConflict, message)
}

/// Adds what to use instead of an option of another program.
fn hint(mut error: Error) -> Error {
    let ContextValue::String(option) =
        error.get(ContextKind::InvalidArg).unwrap_or(&ContextValue::None)
    else {
        return error;
    };
    let option = option.split('=').next().unwrap_or_default();
    let hint = match option {
        "--mount" => "use --volume HOST:CONTAINER[:ro]",
        "-v" | "-vv" => "use --verbose, before or after the command; -v is the --volume of a job",
        "--platform" | "--tmpfs" => "Longshore has no such option",
        "-p" | "-P" | "--publish" | "--expose" => "a job has no ports",
        "--privileged" | "--cap-add" | "--cap-drop" | "--security-opt" => {
            "use securityProfile and securityContext in a job file (--file)"
        }
        "--restart" => "a job is never started a second time",
        "--namespace" | "-n" => "use --set job.kubernetes.namespace=NAME",
        _ => return error,
    };
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.to_owned().into()]));
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(line: &[&str]) -> Result<JobArgs, String> {
        let words = ["longshore", "plan"].iter().chain(line).map(OsString::from).collect();
        match parse(words).map(|cli| cli.command) {
            Ok(Command::Plan(job)) => Ok(*job.0),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn dashes_before_the_command_are_optional() {
        for line in [&["echo", "-n", "hi"][..], &["--", "echo", "-n", "hi"]] {
            assert_eq!(job(line).unwrap().args, ["echo", "-n", "hi"]);
        }
        let line = ["--image", "busybox", "sh", "-c", "x", "--", "--env", "A=1"];
        let contained = job(&line).unwrap();
        assert_eq!(contained.args, ["sh", "-c", "x", "--", "--env", "A=1"]);
        assert!(contained.env.is_empty());
        assert_eq!(job(&["--", "--env"]).unwrap().args, ["--env"]);
    }

    #[test]
    fn a_word_that_may_be_a_job_file_or_a_command_is_refused_with_both_spellings() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let (plain, program) = (at("job.toml"), at("run.json"));
        fs::write(&plain, "").unwrap();
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();

        let short = job(&[&plain, "--image", "x", "--", "a"]).unwrap();
        assert_eq!(short.file.as_deref(), Some(Path::new(&plain)));
        assert_eq!((short.image.unwrap().as_str(), short.args), ("x", vec!["a".to_owned()]));
        assert_eq!(job(&["--", &plain]).unwrap().args, [plain.as_str()]);
        assert_eq!(job(&["--file", &plain, &plain]).unwrap().args, [plain.as_str()]);
        for line in [&["--image", "x", &plain][..], &[&program]] {
            let error = job(line).unwrap_err();
            let word = line.last().unwrap();
            for spelling in [format!("--file {word}"), format!("-- {word}")] {
                assert!(error.contains(&spelling), "{error}");
            }
        }
        let inside = job(&["--image", "x", "settings.json"]).unwrap();
        assert_eq!(inside.args, ["settings.json"]);
    }

    #[test]
    fn the_options_of_docker_and_kubectl_for_pulling_are_taken() {
        for (option, value, policy) in [
            ("--pull-policy", "Always", "Always"),
            ("--pull", "missing", "IfNotPresent"),
            ("--image-pull-policy", "Never", "Never"),
        ] {
            let job = job(&[option, value, "--image", "x", "a"]).unwrap();
            assert_eq!(job.pull_policy.unwrap().to_string(), policy);
        }
    }

    #[test]
    fn a_wrong_option_is_answered_with_the_right_one() {
        for (line, right) in [
            (&["-v", "busybox"][..], "HOST:CONTAINER"),
            (&["--mount", "type=bind"], "--volume"),
            (&["--imgae", "x"], "--image"),
            (&["-p", "80:80"], "no ports"),
        ] {
            let error = job(line).unwrap_err();
            assert!(error.contains(right), "{line:?}: {error}");
        }
    }
}

//! Runs the command in a home directory of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The engine does not exist: plans and refusals do not need it.
pub(crate) const CONFIG: &str = r#"
[job]
runners = ["docker"]

[job.docker]
host = "unix:///nowhere/docker.sock"
"#;

/// A temporary home directory.
pub(crate) struct Home(tempfile::TempDir);

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        let home = Self(tempfile::tempdir().expect("a temporary folder"));
        home.write("longshore.toml", CONFIG);
        home
    }

    /// Returns a home directory in which jobs are local processes.
    pub(crate) fn with_processes() -> Self {
        let home = Self::new();
        home.write("longshore.toml", "[job]\nrunners = ['process']\n");
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder");
        fs::write(&path, text).expect("a file");
        path
    }

    /// Returns the command with an environment of its own.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
        command.env_clear().env("HOME", self.0.path()).env("PATH", "/usr/bin:/bin");
        command.env("LONGSHORE_CONFIG", self.path("longshore.toml"));
        command
    }

    /// Runs the command with the environment `variables` only.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let mut command = self.command();
        command.envs(variables.iter().copied()).args(arguments);
        Ran::of(&mut command)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(&[], arguments)
    }
}

impl Ran {
    /// Runs `command` to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the command starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn says(&self, texts: &[&str]) {
        let all = format!("{}{}", self.stdout, self.stderr);
        for text in texts {
            assert!(all.contains(text), "no `{text}` in:\n{all}");
        }
    }

    #[track_caller]
    pub(crate) fn never_says(&self, text: &str) {
        assert!(!self.stdout.contains(text) && !self.stderr.contains(text));
    }
}

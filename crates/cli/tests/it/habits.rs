//! Tests the command lines that people know from a shell and from docker.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use crate::home::{Home, Ran};

/// Runs the command in the folder `folder` of `home`.
fn run_in(home: &Home, folder: &str, arguments: &[&str]) -> Ran {
    Ran::of(home.command().current_dir(home.path(folder)).args(arguments))
}

#[test]
fn a_local_process_runs_in_the_directory_of_the_command() {
    let home = Home::with_processes();
    let script = home.write("work/script.sh", "#!/bin/sh\npwd -P; echo \"$@\"\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a mode");
    home.write("elsewhere/x", "");
    let real =
        |name: &str| home.path(name).canonicalize().expect("it exists").display().to_string();
    let ran = run_in(&home, "work", &["run", "-q", "./script.sh", "-x", "y"]).exits(0);
    assert_eq!(ran.stdout, format!("{}\n-x y\n", real("work")));
    for directory in ["../elsewhere", &real("elsewhere")] {
        let ran = run_in(&home, "work", &["run", "-q", "-w", directory, "pwd", "-P"]).exits(0);
        assert_eq!(ran.stdout.trim(), real("elsewhere"));
    }
    home.write("work/job.toml", "process.command = ['pwd', '-P']");
    let ran = run_in(&home, "work", &["run", "-q", "job.toml"]).exits(0);
    assert_eq!(ran.stdout.trim(), real("work"));
    let ran = run_in(&home, "", &["run", "-q", "-f", "work/job.toml"]).exits(0);
    assert_eq!(Path::new(ran.stdout.trim()), home.path("").canonicalize().expect("it exists"));
}

#[test]
fn a_job_file_may_come_from_stdin() {
    let home = Home::with_processes();
    for job in [
        "process: {command: [echo, hi]}",
        "{\"process\": {\"command\": [\"echo\", \"hi\"]}}",
        "[process]\ncommand = ['echo', 'hi']",
    ] {
        let mut command = home.command();
        command.args(["run", "-q", "--file", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        child.stdin.take().expect("a pipe").write_all(job.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "hi\n", "{job}");
    }
}

#[test]
fn the_options_of_docker_run_have_their_meaning() {
    let home = Home::new();
    let file = home.write("env", "# of docker\nA=1\nB=2\n").display().to_string();
    let options = [
        "plan",
        "--image",
        "busybox:1",
        "-e",
        "B=3",
        "--env-file",
        &file,
        "-w",
        "/work",
        "-u",
        "7:8",
        "-m",
        "512m",
        "--cpus",
        "1.5",
        "--pids-limit",
        "99",
        "--network",
        "none",
        "--entrypoint",
        "/bin/sh",
        "-l",
        "team=quay",
        "--read-only",
        "--timeout",
        "10",
        "-c",
        "true",
    ];
    let refused = home.run(&options).exits(2);
    refused.says(&["unexpected argument '-c'"]);
    let options: Vec<&str> = options
        .iter()
        .flat_map(|word| if *word == "-c" { vec!["--", "-c"] } else { vec![*word] })
        .collect();
    home.run(&options).exits(0).says(&[
        "\"A=1\"",
        "\"B=3\"",
        "\"WorkingDir\": \"/work\"",
        "\"User\": \"7:8\"",
        "\"Memory\": 536870912",
        "\"NanoCpus\": 1500000000",
        "\"PidsLimit\": 99",
        "\"NetworkMode\": \"none\"",
        "\"/bin/sh\"",
        "\"team\": \"quay\"",
        "\"ReadonlyRootfs\": true",
        "\"-c\"",
    ]);
    let home = Home::with_processes();
    home.run(&["run", "--rm", "--timeout", "1", "sleep", "600"]).exits(124);
    home.run(&["run", "--rm", "--detach", "true"]).exits(2).says(&["--rm", "--detach"]);
}

#[test]
fn a_job_whose_reader_has_gone_ends_at_once() {
    let home = Home::with_processes();
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = home.command();
    command.args(["run", "yes"]).stdout(writer).stderr(Stdio::piped());
    let child = command.spawn().expect("the command starts");
    drop(command);
    reader.read_exact(&mut [0; 2]).expect("output");
    drop(reader);
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(143), "{stderr}");
    assert!(stderr.contains("stdout has no reader any more"), "{stderr}");
}

#[test]
fn the_variables_of_a_ci_system_disturb_nothing() {
    let home = Home::with_processes();
    let jenkins = [("JOB_NAME", "nightly"), ("JOB_URL", "https://x/"), ("JOB_BASE_NAME", "n")];
    let ran = home.run_with(&jenkins, &["run", "true"]).exits(0);
    ran.never_says("warning");
    let near = [("JOB_IMAGEPULPOLICY", "Always")];
    home.run_with(&near, &["run", "true"]).exits(0).says(&["did you mean JOB_IMAGEPULLPOLICY"]);
    assert_eq!(home.run_with(&near, &["run", "-q", "true"]).exits(0).stderr, "");

    let invalid = [("JOB_TIMEOUT", "soon")];
    home.run_with(&invalid, &["run", "true"]).exits(125).says(&[
        "JOB_TIMEOUT: job.timeout: `soon`",
        "env -u JOB_TIMEOUT",
        "LONGSHORE_JOB_TIMEOUT",
    ]);
    home.run_with(&invalid, &["ps"]).exits(0).says(&["JOB_TIMEOUT is ignored"]);
    let own = [invalid[0], ("LONGSHORE_JOB_TIMEOUT", "1m")];
    home.run_with(&own, &["run", "true"]).exits(0);
}

/// Starts a job that prints `ready` and ends once the file `go` exists, with the programs `before` in
/// front of the command.
fn waiting(home: &Home, before: &[&str]) -> std::process::Child {
    let own = home.command();
    let program = own.get_program().to_str().expect("a path").to_owned();
    let script = "echo ready; until [ -e go ]; do sleep 0.05; done; exit 3";
    let folder = home.path("").display().to_string();
    let run = [&program, "run", "-q", "-w", &folder, "sh", "-c", script];
    let words = [before, &run].concat();
    let mut command = std::process::Command::new(words[0]);
    command.args(&words[1..]).env_clear();
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let stdout = child.stdout.as_mut().expect("a pipe");
    stdout.read_exact(&mut [0; 6]).expect("the job is ready");
    child
}

fn hang_up(child: &std::process::Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it runs");
}

#[test]
fn a_closed_terminal_cancels_the_job() {
    let home = Home::with_processes();
    let mut child = waiting(&home, &[]);
    hang_up(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(143));
}

#[test]
fn a_command_under_nohup_survives_its_terminal() {
    let home = Home::with_processes();
    let mut child = waiting(&home, &["nohup"]);
    hang_up(&child);
    home.write("go", "");
    assert_eq!(child.wait().expect("it ends").code(), Some(3));
}

#[test]
fn a_missing_variable_is_suggested_where_a_command_is_not_found() {
    let home = Home::with_processes();
    let set = [("SECRET_TOOL", "x")];
    let script = "test -n \"$SECRET_TOOL\" || exit 127";
    home.run_with(&set, &["run", "sh", "-c", script])
        .exits(127)
        .says(&["--env NAME", "--inherit-env NAME"]);
    for pass in [["--inherit-env", "OTHER,SECRET_*"], ["--env", "SECRET_TOOL"]] {
        let arguments = [&["run"], &pass[..], &["sh", "-c", script]].concat();
        home.run_with(&set, &arguments).exits(0).never_says("--inherit-env");
    }
}

#[test]
fn a_terminal_of_a_job_without_one_here_is_refused_as_docker_does() {
    let home = Home::with_processes();
    for line in [&["run", "-it", "true"][..], &["exec", "-it", "nightly", "true"]] {
        let ran = run_in(&home, "", line).exits(125);
        assert!(ran.stderr.contains("the input device is not a TTY"), "{}", ran.stderr);
    }
    let ran = run_in(&home, "", &["run", "-di", "true"]).exits(2);
    assert!(ran.stderr.contains("--interactive needs --tty"), "{}", ran.stderr);
    // Without -i, it is only the job's.
    let ran = run_in(&home, "", &["run", "-q", "-t", "sh", "-c", "test -t 0 && tty"]).exits(0);
    assert!(ran.stdout.starts_with("/dev/pts/"), "{}", ran.stdout);
}

//! Tests what the command does with a result that it cannot pass on.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::home::{Home, Ran};

/// Runs `command` with a stdout that fails every write.
fn into_full(command: &mut Command) -> Ran {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("the device");
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().expect("the command starts");
    let output = child.wait_with_output().expect("the command ends");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), stdout: String::new(), stderr }
}

#[test]
fn quiet_does_not_hide_why_nothing_ran() {
    let home = Home::new();
    home.run(&["run", "-q", "--image", "x", "--", "true"]).exits(125).says(&[
        "passed over docker",
        "/nowhere/docker.sock",
        "no runner took it",
    ]);
    let home = Home::with_processes();
    home.run(&["run", "-q", "--timeout", "200ms", "--", "sleep", "600"])
        .exits(124)
        .says(&["ran out of time"]);
    let ran = home.run(&["run", "-q", "--", "sh", "-c", "exit 3"]).exits(3);
    assert_eq!(ran.stderr, "");
}

#[test]
fn logs_that_cannot_be_written_are_no_success() {
    let home = Home::with_processes();
    let ran = home.run(&["run", "--detach", "--", "echo", "out"]).exits(0);
    let id = ran.stdout.trim();
    home.run(&["wait", id]).exits(0);
    into_full(home.command().args(["logs", id]))
        .exits(125)
        .says(&["error: failed to write to stdout"]);
    home.run(&["rm", id]).exits(0);
}

#[test]
fn help_that_cannot_be_written_is_no_success() {
    let home = Home::new();
    for words in [&["--help"][..], &["run", "--help"], &["--version"]] {
        into_full(home.command().args(words))
            .exits(125)
            .says(&["error: failed to write to stdout"]);
    }
}

#[test]
fn a_detached_job_whose_id_cannot_be_written_is_not_lost() {
    let home = Home::with_processes();
    let ran = into_full(home.command().args(["run", "-q", "--detach", "--", "sleep", "600"]));
    let ran = ran.exits(0);
    ran.says(&["error: failed to write to stdout"]);
    let (_, id) = ran.stderr.trim().rsplit_once("the job's ID is ").expect("the ID");
    home.run(&["inspect", id]).exits(0).says(&["undelivered", "failed to write to stdout"]);
    home.run(&["rm", "--force", id]).exits(0);
}

#[test]
fn a_job_whose_result_cannot_be_written_keeps_its_exit_code() {
    let home = Home::with_processes();
    let folder = home.path("results");
    fs::create_dir(&folder).expect("a folder");
    let (file, folder) = (folder.join("r.json"), folder.display().to_string());
    let file = file.display().to_string();
    home.run(&["run", "--name", "n", "--result", &file, "--", "rm", "-r", &folder])
        .exits(0)
        .says(&["error: --result", &file]);
    home.run(&["inspect", "n"]).exits(0).says(&["undelivered", "--result", &file]);
    into_full(home.command().args(["run", "--name", "m", "sh", "-c", "echo out; exit 5"])).exits(5);
    home.run(&["inspect", "m"]).exits(0).says(&["undelivered", "failed to write to stdout"]);
}

#[test]
fn a_terminal_is_not_controlled_by_a_configuration() {
    let home = Home::with_processes();
    home.write("longshore.toml", "[job]\nrunners = [\"\\u001B[2J\"]\n");
    let ran = home.run(&["run", "--", "true"]).exits(125);
    ran.never_says("\u{1b}");
    ran.says(&["\\u{1b}[2J"]);
    let ran = home.run(&["config", "show", "--set", "job.\u{1b}[1m=x"]).exits(125);
    ran.never_says("\u{1b}");
    home.run(&["run", "--time\u{1b}[1mout", "1s"]).exits(2).never_says("\u{1b}");
}

#[test]
fn a_named_pipe_that_nobody_reads_did_not_let_the_command_end() {
    let home = Home::with_processes();
    let pipe = home.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo starts").success());
    let mut command = home.command();
    command.args(["run", "--result"]).arg(&pipe).args(["--", "sh", "-c", "exit 4"]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the command starts");
    let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut lines = stderr.lines().map(|line| line.expect("text"));
    let waits = lines.by_ref().any(|line| line.contains("waiting for a process that reads"));
    assert!(waits, "it says what it waits for");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    assert!(lines.any(|line| line.contains("not written: interrupted")));
    assert_eq!(child.wait().expect("it ends").code(), Some(4), "the job keeps its exit code");
}

#[test]
fn diagnostics_have_no_colours_where_none_are_wanted() {
    let home = Home::with_processes();
    let script = "script -qec \"$0 --verbose run -- true\" /dev/null";
    for (variable, coloured) in [("", true), ("1", false)] {
        let mut command = home.command();
        let program = command.get_program().to_owned();
        let mut shell = Command::new("sh");
        shell.env_clear().envs(
            command
                .env("NO_COLOR", variable)
                .get_envs()
                .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))),
        );
        let ran = Ran::of(shell.args(["-c", script]).arg(program)).exits(0);
        assert_eq!(ran.stdout.contains("\u{1b}[2m"), coloured, "{:?}", ran.stdout);
    }
}

#[test]
fn a_state_directory_that_cannot_be_used_is_named() {
    let home = Home::with_processes();
    home.write("file", "");
    let path = home.path("file/state").display().to_string();
    home.run(&["ps", "--set", &format!("job.stateDirectory={path}")]).exits(125).says(&[&path]);
}

/// Answers one request after the other with an error that clears a terminal, until it is dropped.
fn evil_server() -> std::net::SocketAddr {
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    std::thread::spawn(move || {
        for connection in server.incoming() {
            let Ok(mut connection) = connection else { return };
            let mut request = [0; 4096];
            let _ = connection.read(&mut request);
            let body = "{\"message\": \"\\u001b[2J\\u009b2J evil\"}";
            let _ = write!(
                connection,
                "HTTP/1.1 500 Error\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}

#[test]
fn a_terminal_is_not_controlled_by_a_server() {
    let home = Home::new();
    let host = format!("job.docker.host=tcp://{}", evil_server());
    for verbose in [&[][..], &["--verbose"], &["--verbose", "--verbose"]] {
        let arguments = [verbose, &["run", "--set", &host, "--image", "x"]].concat();
        let ran = home.run(&arguments).exits(125);
        ran.never_says("\u{1b}");
        ran.never_says("\u{9b}");
        ran.says(&["passed over docker", "\\u{1b}[2J\\u{9b}2J evil"]);
        home.run(&["doctor", "--set", &host]).exits(1).never_says("\u{1b}");
    }
}

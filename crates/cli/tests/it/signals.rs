//! Tests what a closed terminal does.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::home::{Home, Ran};

/// Starts a job that says that it is ready, and exits with 5 on TERM and with 0 once it reads a file.
fn ready_job(home: &Home, prefix: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let gate = home.path("gate");
    let script = format!(
        "trap 'exit 5' TERM; echo ready; while ! test -e {}; do sleep 0.05; done",
        gate.display()
    );
    let mut command = std::process::Command::new("sh");
    let own = home.command();
    command.env_clear().envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.args(["-c", &format!("{prefix} exec \"$0\" \"$@\"")]).arg(own.get_program());
    command.args(["run", "--", "sh", "-c", &script]);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    (child, stdout)
}

fn hang_up(child: &Child) {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::HUP).expect("it lives");
}

fn ended(mut child: Child) -> Ran {
    let mut stderr = String::new();
    child.stderr.take().expect("it is a pipe").read_to_string(&mut stderr).expect("text");
    let code = child.wait().expect("it ends").code().unwrap_or(-1);
    Ran { code, stdout: String::new(), stderr }
}

#[test]
fn a_closed_terminal_cancels_the_job_as_ctrl_c_does() {
    let home = Home::with_processes();
    let (child, _stdout) = ready_job(&home, "");
    hang_up(&child);
    ended(child).exits(5).says(&["cancelling the job", "was cancelled"]);
}

#[test]
fn a_closed_terminal_cancels_no_job_under_nohup() {
    let home = Home::with_processes();
    let (child, _stdout) = ready_job(&home, "trap '' HUP;");
    hang_up(&child);
    home.write("gate", "");
    ended(child).exits(0).never_says("cancelling");
}

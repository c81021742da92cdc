//! Parts of tests that run in a separate process, because it is killed or has its own mounts.
#![expect(clippy::unwrap_used, reason = "parts of tests are not marked as tests")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::{crashes, disks, processes};

const PART: &str = "LONGSHORE_JOURNAL_TEST_PART";
const FOLDER: &str = "LONGSHORE_JOURNAL_TEST_FOLDER";
/// Precedes each line of a part, to distinguish it from the test harness's lines.
const MARK: &str = "@@ ";

/// Prints `line` for the test that started this part.
#[expect(clippy::print_stdout, reason = "the test reads it")]
pub fn say(line: &str) {
    println!("{MARK}{line}");
}

/// Waits for the test's next line. Returns false once the test has closed the pipe.
pub fn told() -> bool {
    std::io::stdin().read_line(&mut String::new()).unwrap() > 0
}

#[test]
#[ignore = "a part of other tests, which start it themselves"]
fn part() {
    let (Ok(part), Ok(folder)) = (std::env::var(PART), std::env::var(FOLDER)) else { return };
    let folder = Path::new(&folder);
    let play = async {
        match part.as_str() {
            "claim" => processes::claim(folder).await,
            "attend" => processes::attend(folder).await,
            "open" => processes::open_at_once(folder).await,
            "submit" => processes::submit_at_once(folder).await,
            "finish" => processes::finish_some(folder).await,
            "write" => crashes::write(folder).await,
            "full" => disks::full(folder).await,
            "full-with-reserve" => disks::full_with_reserve(folder).await,
            "full-before" => disks::full_before(folder).await,
            "read-only" => disks::read_only(folder).await,
            _ => panic!("no part is called {part}"),
        }
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play);
}

/// A running part. It is killed when dropped.
pub struct Part {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Part {
    pub fn play(part: &str, folder: &Path) -> Self {
        Self::start(Command::new(std::env::current_exe().unwrap()), part, folder)
    }

    /// Runs the part with its own mounts after the shell commands `setup`, as root or as a user
    /// mapped to root.
    pub fn play_with_mounts(part: &str, folder: &Path, setup: &str) -> Self {
        let mut command = Command::new("unshare");
        command.args(if rustix::process::geteuid().is_root() { &["-m"] } else { &["-rm"][..] });
        command.args(["sh", "-ec", &format!("{setup}\nexec \"$0\" \"$@\"")]);
        command.arg(std::env::current_exe().unwrap());
        Self::start(command, part, folder)
    }

    fn start(mut command: Command, part: &str, folder: &Path) -> Self {
        let mut child = command
            .args(["--exact", "parts::part", "--ignored", "--nocapture"])
            .env(PART, part)
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    /// Returns the part's next line, or `None` once the part has ended.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if let Some((_, said)) = line.split_once(MARK) {
                return Some(said.trim_end().to_owned());
            }
            line.clear();
        }
        None
    }

    /// Returns all remaining lines of the part.
    pub fn lines(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }

    pub fn tell(&mut self) {
        use std::io::Write;
        self.input.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Kills the part with kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Closes the part's input, waits for its end, and returns whether it succeeded.
    pub fn ends_well(mut self) -> bool {
        drop(self.input.take());
        self.lines();
        self.child.wait().unwrap().success()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

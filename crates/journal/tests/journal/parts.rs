//! Parts that a process of its own plays, because it is to be killed, or to have its own mounts.
#![expect(clippy::unwrap_used, reason = "parts of tests are not marked as tests")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::{crashes, disks, processes};

const PART: &str = "LONGSHORE_JOURNAL_TEST_PART";
const FOLDER: &str = "LONGSHORE_JOURNAL_TEST_FOLDER";
/// Stands before each line of a part's, to tell it from the test harness's.
const MARK: &str = "@@ ";

/// Says `line` to the test that has started this part.
#[expect(clippy::print_stdout, reason = "the test reads it")]
pub fn say(line: &str) {
    println!("{MARK}{line}");
}

/// Waits for the test's next line; false once it has closed the pipe.
pub fn told() -> bool {
    std::io::stdin().read_line(&mut String::new()).unwrap() > 0
}

#[test]
#[ignore = "a part of other tests, which start it by themselves"]
fn part() {
    let (Ok(part), Ok(folder)) = (std::env::var(PART), std::env::var(FOLDER)) else { return };
    let folder = Path::new(&folder);
    let play = async {
        match part.as_str() {
            "claim" => processes::claim(folder).await,
            "attend" => processes::attend(folder).await,
            "open" => processes::open_at_once(folder).await,
            "submit" => processes::submit_at_once(folder).await,
            "write" => crashes::write(folder).await,
            "full" => disks::full(folder).await,
            "full-before" => disks::full_before(folder).await,
            "read-only" => disks::read_only(folder).await,
            _ => panic!("no part is called {part}"),
        }
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play);
}

/// A part being played. Killed when dropped.
pub struct Part {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Part {
    pub fn play(part: &str, folder: &Path) -> Self {
        Self::start(Command::new(std::env::current_exe().unwrap()), part, folder)
    }

    /// Plays it in mounts of its own, after the shell's `setup`, as root or what looks like it.
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

    /// The part's next line; none once it has ended.
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

    /// All lines from here on, to its end.
    pub fn lines(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }

    pub fn tell(&mut self) {
        use std::io::Write;
        self.input.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Closes its input and waits for its end; whether it went well.
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

//! One job from its start until nothing of it is left.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use longshore_core::Report;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use super::copy::{Copy, More};
use super::exec::{Running, Surroundings};
use super::input::Input;
use super::kept::Kept;
use super::memory;
use super::terminal::Terminal;
use super::wake::Wake;
use crate::linux::{descendants, kill_descendants, terminate_descendants};
use crate::location::Location;
use crate::outcome::{Cause, Exit, outcome, outcome_beside};
use crate::record::{Begin, End};
use crate::wire::StartRequest;

/// How often to check again for processes that survive KILL: no notification reports a process that
/// was forked while the others were killed.
const KILL_AGAIN: Duration = Duration::from_millis(20);

/// How soon to read the requests to cancel again, after they could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// How long the supervisor tries to kill. A process that still exists then runs as another user or
/// hangs in the kernel.
const KILL_LIMIT: Duration = Duration::from_secs(30);

/// How long after its start a job that still runs counts as one that goes on for a while.
const LONG: Duration = Duration::from_secs(1);

/// More copying rounds than any pipe can hold data for.
const DRAIN_ROUNDS: usize = 64;

/// A running job.
pub(super) struct Job {
    pub(super) record: File,
    pub(super) begin: Begin,
    /// The time of `begin`, by a clock that nobody sets.
    begun: Instant,
    pub(super) fsync: bool,
    location: Location,
    surroundings: Surroundings,
    /// The commands that other processes run in the job.
    commands: Vec<Running>,
    /// What gives the job its input.
    keyboard: Keyboard,
    outputs: [Option<Copy>; 2],
    kept: Kept,
    lost: [u64; 2],
    grace: Duration,
    deadline: Option<Instant>,
    /// How the main process ended, if it has.
    exit: Option<(Exit, Timestamp)>,
    /// Why the job was asked to end, if it was.
    cause: Option<Cause>,
    /// When to read the requests to cancel again, after they could not be read.
    read_again_at: Option<Instant>,
    /// When to give back the memory that only the start has needed, if the job still runs then.
    release_at: Option<Instant>,
    /// When the remaining processes are killed.
    kill_at: Option<Instant>,
    /// When killing began.
    killing_since: Option<Instant>,
    buffer: Vec<u8>,
}

/// What gives a job its input.
pub(super) struct Keyboard {
    /// The job's stdin until a process opens it.
    pub(super) input: Option<Input>,
    /// The job's terminal.
    pub(super) terminal: Option<Terminal>,
}

impl Job {
    pub(super) fn new(
        request: &StartRequest,
        surroundings: Surroundings,
        location: Location,
        record: File,
        begin: Begin,
        outputs: [Option<Copy>; 2],
        keyboard: Keyboard,
    ) -> Self {
        // A timeout beyond what the clock can express means no timeout.
        let after = |millis| Instant::now().checked_add(Duration::from_millis(millis));
        Self {
            record,
            begin,
            begun: Instant::now(),
            fsync: request.fsync,
            kept: Kept::new(location.clone(), request.log_max_bytes),
            location,
            surroundings,
            commands: Vec::new(),
            keyboard,
            outputs,
            lost: [0; 2],
            grace: Duration::from_millis(request.grace_ms),
            deadline: request.timeout_ms.and_then(after),
            exit: None,
            cause: None,
            read_again_at: None,
            release_at: Instant::now().checked_add(LONG),
            kill_at: None,
            killing_since: None,
            buffer: Vec::new(),
        }
    }

    /// Supervises the job until all its processes are gone and reaped, and its output is kept.
    /// Returns false if some processes cannot be ended. `runner` is the connection to the process
    /// that launched the job.
    pub(super) fn supervise(&mut self, wake: &Wake, runner: &UnixStream) -> io::Result<bool> {
        // A request to cancel may have arrived between the commit and now.
        self.obey_cancel();
        while self.reap()? {
            let now = Instant::now();
            self.act(now);
            if self.killing_since.is_some_and(|since| now > since + KILL_LIMIT) {
                self.drain();
                return Ok(false);
            }
            self.wait(wake, runner, now)?;
        }
        self.drain();
        Ok(true)
    }

    /// Returns the end, for the record. `is_over` is what [`supervise`](Self::supervise) has returned.
    #[inline(never)]
    pub(super) fn end(&self, is_over: bool) -> End {
        let exit = self.exit.map(|(exit, _)| exit);
        let has_oom_killed = self.surroundings.cgroup.has_oom_killed();
        let outcome = match is_over {
            true => outcome(exit, self.cause, has_oom_killed),
            false => outcome_beside(&descendants().unwrap_or_default(), exit, self.cause),
        };
        let mut report = Report::new(outcome);
        report.started_at = Some(self.begin.at);
        report.finished_at = Some(self.exit.map_or_else(|| self.now(), |(_, at)| at));
        let [lost_stdout, lost_stderr] = self.lost;
        End { report, lost_stdout, lost_stderr }
    }

    /// Removes the job's cgroups. Its processes are gone.
    pub(super) fn remove_cgroup(&self) {
        self.surroundings.cgroup.remove();
    }

    fn now(&self) -> Timestamp {
        now(self.begin.at, self.begun)
    }

    /// Reaps all processes that have ended. Returns false once none is left.
    fn reap(&mut self) -> io::Result<bool> {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.reaped(pid, status),
                Ok(None) => return Ok(true),
                Err(Errno::CHILD) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn reaped(&mut self, pid: Pid, status: WaitStatus) {
        let exit = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            // Neither: it was stopped or continued, which was not requested.
            (None, None) => return,
        };
        let pid = pid.as_raw_nonzero().get();
        if pid == self.begin.pid {
            self.exit = Some((exit, self.now()));
        } else if let Some(at) = self.commands.iter().position(|command| command.pid == pid) {
            let code = match exit {
                Exit::Code(code) => code,
                Exit::Signal(signal) => 128 + signal,
            };
            self.commands.swap_remove(at).exited(code);
        }
    }

    /// Does what other processes have requested.
    ///
    /// It is a function of its own, as are the others that are seldom called: what each needs of the stack
    /// is in use only meanwhile.
    #[inline(never)]
    fn heed_requests(&mut self) {
        self.keyboard.input = self.keyboard.input.take().filter(|input| !input.is_taken());
        self.resize();
        self.pass_on_signals();
        self.run_commands();
        self.obey_cancel();
    }

    /// Does what is due.
    #[inline(never)]
    fn act(&mut self, now: Instant) {
        if self.read_again_at.is_some_and(|at| now >= at) {
            self.obey_cancel();
        }
        if self.release_at.is_some_and(|at| now >= at) {
            self.release_at = None;
            memory::release();
        }
        if self.exit.is_none() && self.deadline.is_some_and(|deadline| now >= deadline) {
            self.deadline = None;
            self.tell_to_end(Some(Cause::Deadline), self.grace, now);
        }
        if self.exit.is_some() && self.kill_at.is_none() {
            // The job is over. What it left behind is ended too, as in a container.
            self.tell_to_end(None, self.grace, now);
        }
        if self.kill_at.is_some_and(|at| now >= at) {
            self.killing_since.get_or_insert(now);
            // Repeated until no process is left.
            let _ = kill_descendants();
        }
    }

    /// Sends TERM now and KILL after `grace`. If a KILL was scheduled before, the earlier of the
    /// two applies.
    fn tell_to_end(&mut self, cause: Option<Cause>, grace: Duration, now: Instant) {
        if self.cause.is_none() && self.exit.is_none() {
            self.cause = cause;
        }
        let at = now.checked_add(grace);
        match self.kill_at {
            Some(earlier) => self.kill_at = Some(at.map_or(earlier, |at| at.min(earlier))),
            None => {
                self.kill_at = Some(at.unwrap_or(now + KILL_LIMIT));
                if !grace.is_zero() {
                    // A process that does not receive TERM gets KILL.
                    let _ = terminate_descendants();
                }
            }
        }
    }

    #[inline(never)]
    fn obey_cancel(&mut self) {
        let now = Instant::now();
        self.read_again_at = None;
        match self.location.cancel_request() {
            Ok(None) => {}
            Ok(Some(grace)) => self.tell_to_end(Some(Cause::Cancel), grace, now),
            // The directory of a running job was removed: that requests an end too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.tell_to_end(Some(Cause::Cancel), Duration::ZERO, now);
            }
            // A lack of descriptors, for example, does not show whether there is a request.
            Err(_) => self.read_again_at = Some(now + READ_AGAIN),
        }
    }

    /// Sends the main process the signals that were requested. Its pid is its own until it is reaped.
    fn pass_on_signals(&mut self) {
        // What cannot be read is not taken, and its sender notices.
        for signal in self.location.take_signals().unwrap_or_default() {
            let signal = Signal::from_named_raw(signal.number());
            let pid = Pid::from_raw(self.begin.pid).filter(|_| self.exit.is_none());
            if let (Some(pid), Some(signal)) = (pid, signal) {
                // A process that has ended is not reaped yet, and ignores it.
                let _ = rustix::process::kill_process(pid, signal);
            }
        }
    }

    /// Gives the job's terminal the size that was requested.
    fn resize(&self) {
        let Some(terminal) = &self.keyboard.terminal else { return };
        // What cannot be read is not taken. The next size may be.
        if let Ok(Some(size)) = self.location.take_terminal_size() {
            terminal.resize(size);
        }
    }

    /// Starts the commands that other processes offer.
    fn run_commands(&mut self) {
        // What cannot be read is not taken, and the process that offers it notices.
        for offer in self.location.take_offers().unwrap_or_default() {
            self.commands.extend(self.surroundings.start(&offer, self.exit.is_some()));
        }
    }

    /// Waits for output, a signal or the next due action, and handles the first two.
    fn wait(&mut self, wake: &Wake, runner: &UnixStream, now: Instant) -> io::Result<()> {
        let timeout = self.next_due(now).map(timespec);
        let mut fds = vec![PollFd::new(&wake.readable, PollFlags::IN)];
        // Only the end of the launching process is reported, and only while that matters.
        let Keyboard { input, terminal } = &self.keyboard;
        fds.extend(input.as_ref().map(|_| PollFd::new(runner, PollFlags::empty())));
        let first_keyboard = fds.len();
        fds.extend(terminal.as_ref().filter(|_| self.exit.is_none()).map(Terminal::waits_for));
        let first_output = fds.len();
        for output in self.outputs.iter().flatten() {
            fds.push(PollFd::from_borrowed_fd(output.pipe().as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let woken = !fds[0].revents().is_empty();
        let abandoned = fds[1..first_keyboard].iter().any(|fd| !fd.revents().is_empty());
        let typed = fds[first_keyboard..first_output].iter().any(|fd| !fd.revents().is_empty());
        let output = fds[first_output..].iter().any(|fd| !fd.revents().is_empty());
        if output {
            self.copy();
        }
        if abandoned {
            self.keyboard.input = None;
        }
        if let Some(terminal) = self.keyboard.terminal.as_mut().filter(|_| typed) {
            terminal.pass_on();
        }
        if woken && wake.take() {
            self.heed_requests();
        }
        Ok(())
    }

    fn next_due(&self, now: Instant) -> Option<Duration> {
        if self.killing_since.is_some() {
            return Some(KILL_AGAIN);
        }
        let deadline = self.deadline.filter(|_| self.exit.is_none());
        let due = [deadline, self.kill_at, self.read_again_at, self.release_at];
        let due = due.into_iter().flatten().min()?;
        Some(due.saturating_duration_since(now))
    }

    /// Copies some output. Returns whether there is more at once.
    #[inline(never)]
    fn copy(&mut self) -> bool {
        let mut more = false;
        let now = self.now();
        for (output, lost) in self.outputs.iter_mut().zip(&mut self.lost) {
            let Some(copy) = output else { continue };
            let state = copy.copy(&mut self.buffer, now, &mut self.kept);
            *lost = copy.lost;
            more |= state == More::AtOnce;
            if state == More::Never {
                *output = None;
            }
        }
        more
    }

    /// Copies what the job has left in its pipes. All its processes are gone. Output that another
    /// process with access to a pipe might still write does not belong to the job.
    fn drain(&mut self) {
        for _ in 0..DRAIN_ROUNDS {
            if !self.copy() {
                break;
            }
        }
        self.outputs = [None, None];
    }
}

fn timespec(duration: Duration) -> Timespec {
    // One millisecond more, so that the action is due when poll returns.
    let duration = duration + Duration::from_millis(1);
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// Returns the time by the clock that had the time `at` at `begun`, as if it had not been set since.
/// So no job ends before its start.
fn now(at: Timestamp, begun: Instant) -> Timestamp {
    at.checked_add(begun.elapsed()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_whose_clock_is_set_back_does_not_end_before_its_start() {
        let ahead = Timestamp::now() + Duration::from_secs(600);
        let begun = Instant::now();
        let end = now(ahead, begun).duration_since(ahead);
        assert!(!end.is_negative() && end.unsigned_abs() <= begun.elapsed(), "{end:#}");
    }
}

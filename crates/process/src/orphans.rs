//! Ends what a dead supervisor has left of its job.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::linux::{ATTEMPT_VARIABLE, ProcessIdentity, ProcessTable, Stat, gone_is_none};

/// How long the processes of a dead supervisor may take to vanish after KILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The pause between two checks whether the killed processes are gone.
const KILL_PAUSE: Duration = Duration::from_millis(5);

/// The session that a dead supervisor has led.
///
/// Once a session is empty, its number is free for a later process, which may lead a session of that
/// number again. It is not reused while the session has a member.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    pub(crate) supervisor: &'a ProcessIdentity,
    /// Whether the number cannot belong to a later session, as the supervisor has died just now.
    pub(crate) is_recent: bool,
}

/// Kills what a dead supervisor has left of an attempt, and returns once it is gone.
///
/// The processes are found by the marker in their environment, as `members` of the attempt's cgroups if
/// it has any, by descent from one of these, and as members of the supervisor's session if one of these
/// is in it too. So a process of an attempt without cgroups escapes only if it has cleared its environment
/// and lost its parent, and has left the session or is alone in it for a while.
pub(crate) fn kill_orphans(
    session: Option<&Session<'_>>,
    attempt: &str,
    members: impl Fn() -> io::Result<Vec<i32>>,
) -> io::Result<()> {
    let limit = Instant::now() + KILL_LIMIT;
    let marker = format!("{ATTEMPT_VARIABLE}={attempt}");
    let mut is_proven = session.is_some_and(|session| session.is_recent);
    while kill_orphans_seen(session, &mut is_proven, marker.as_bytes(), &members)? {
        if Instant::now() > limit {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "processes of the attempt do not end although they were killed",
            ));
        }
        // No notification reports that a process that is not our child, and all that it forked, is
        // gone.
        std::thread::sleep(KILL_PAUSE);
    }
    Ok(())
}

/// Kills the orphans that exist. Returns whether there were any. `is_proven` tells whether the session is
/// still that of the supervisor.
fn kill_orphans_seen(
    session: Option<&Session<'_>>,
    is_proven: &mut bool,
    marker: &[u8],
    members: impl Fn() -> io::Result<Vec<i32>>,
) -> io::Result<bool> {
    let table = ProcessTable::read()?;
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let mut orphans: HashSet<i32> =
        members()?.into_iter().filter(|pid| table.0.contains_key(pid)).collect();
    for pid in table.0.keys() {
        if *pid != own && has_marker(*pid, marker)? {
            orphans.insert(*pid);
        }
    }
    orphans = table.closure(orphans);
    let is_in_session = |stat: &Stat| {
        session.is_some_and(|Session { supervisor, .. }| {
            stat.session == supervisor.pid() && stat.start_time >= supervisor.start_time()
        })
    };
    *is_proven |= orphans.iter().filter_map(|pid| table.0.get(pid)).any(is_in_session);
    if *is_proven {
        let mates = table.0.iter().filter(|(_, stat)| is_in_session(stat)).map(|(pid, _)| *pid);
        orphans.extend(mates);
        orphans = table.closure(orphans);
    }
    orphans.remove(&own);
    if orphans.is_empty() {
        return Ok(false);
    }
    table.signal(orphans, Signal::KILL)?;
    Ok(true)
}

fn has_marker(pid: i32, marker: &[u8]) -> io::Result<bool> {
    let environ = match fs::read(format!("/proc/{pid}/environ")) {
        // A process of another user.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(false),
        read => gone_is_none(read)?,
    };
    Ok(environ.is_some_and(|it| it.split(|b| *b == 0).any(|variable| variable == marker)))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// Starts a session with a process that runs `script`. Returns it and its first line.
    fn session(script: &str, attempt: &str) -> (Child, String) {
        let mut leader = Command::new("setsid")
            .args(["sh", "-c", script])
            .env(ATTEMPT_VARIABLE, attempt)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(leader.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (leader, line)
    }

    fn kill(leader: &Child, is_recent: bool, attempt: &str) {
        let supervisor = ProcessIdentity::for_tests(leader.id().cast_signed());
        let session = Session { supervisor: &supervisor, is_recent };
        kill_orphans(Some(&session), attempt, || Ok(Vec::new())).unwrap();
    }

    #[test]
    fn a_later_session_with_the_number_of_a_dead_supervisor_is_left_alone() {
        let (mut leader, _) = session("echo; exec sleep 1000", "orphans-1");
        kill(&leader, false, "orphans-2");
        let ended = leader.try_wait().unwrap();
        // Its number was that of a supervisor a moment ago.
        kill(&leader, true, "orphans-2");
        assert_eq!((ended, leader.wait().unwrap().code()), (None, None));
    }

    #[test]
    fn a_process_without_the_marker_is_found_by_one_with_it_in_its_session() {
        let script = "(env -i sleep 1000 & echo $!); exec sleep 1000";
        let (mut leader, orphan) = session(script, "orphans-3");
        let orphan = orphan.trim().parse().unwrap();
        kill(&leader, false, "orphans-3");
        assert_eq!(leader.wait().unwrap().code(), None);
        assert!(!ProcessTable::read().unwrap().0.contains_key(&orphan));
    }
}

//! Sends a signal to the main process of a job, through its supervisor.
//!
//! The supervisor is the parent of that process, so only it knows that the pid is still the job's. A
//! file `signal.NUMBER.TIME` in the attempt's directory is the request; the supervisor removes it
//! when it has sent the signal.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use longshore_core::{Error, ErrorKind, Result, Signal};
use tokio::time::timeout;

use crate::follow::{AttemptState, Follower};
use crate::launch::on_disk;
use crate::location::Location;
use crate::store::{create, missing_is_none};
use crate::watch::{Kind, Watcher};

const PREFIX: &str = "signal.";

/// How long a supervisor may take to send a signal. One of an older version sends none.
const LIMIT: Duration = Duration::from_secs(5);

impl Location {
    /// Stores a request to send `signal`. Returns the path of the request.
    fn request_signal(&self, signal: Signal) -> io::Result<PathBuf> {
        // The process distinguishes two requests of the same moment.
        let unique = format!("{:020}-{}", Timestamp::now().as_nanosecond(), std::process::id());
        let name = format!("{PREFIX}{}.{unique}", signal.number());
        let path = self.directory().join(name);
        create(&path)?;
        Ok(path)
    }

    /// Takes the requests to send signals, in the order in which they were made.
    pub(crate) fn take_signals(&self) -> io::Result<Vec<Signal>> {
        let mut requests = Vec::new();
        for entry in fs::read_dir(self.directory())? {
            let entry = entry?;
            let name = entry.file_name();
            let request = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            let Some((number, time)) = request.and_then(|it| it.split_once('.')) else { continue };
            let Some(signal) = number.parse().ok().and_then(Signal::from_number) else { continue };
            requests.push((time.to_owned(), signal, entry.path()));
        }
        requests.sort();
        let mut signals = Vec::new();
        for (_, signal, path) in requests {
            // A request that its sender has taken back is not obeyed.
            if missing_is_none(fs::remove_file(path))?.is_some() {
                signals.push(signal);
            }
        }
        Ok(signals)
    }
}

/// Sends `signal` to the main process of the attempt at `location`, if it runs.
pub(crate) async fn send(location: Location, watcher: &Watcher, signal: Signal) -> Result<()> {
    let ended = || Error::new(ErrorKind::NotFound, "the job does not run");
    let mut follower = Follower::new(location.clone(), watcher.clone(), Kind::Everything);
    if !matches!(follower.state().await?, AttemptState::Running(Some(_))) {
        return Err(ended());
    }
    let path = on_disk(&location, move |location| {
        let path = location.request_signal(signal)?;
        let nudged = location.nudge_supervisor();
        if nudged.is_err() {
            // It would be obeyed whenever the supervisor looks next.
            missing_is_none(fs::remove_file(&path))?;
        }
        nudged.map(|()| path)
    })
    .await?;
    let taken = async {
        while path.exists() {
            if !matches!(follower.state().await?, AttemptState::Running(_)) {
                return Err(ended());
            }
            follower.changed().await?;
        }
        Ok(())
    };
    let late = |_| {
        let message = "the job's supervisor does not send the signal";
        Err(Error::new(ErrorKind::Unavailable, message))
    };
    let Err(error) = timeout(LIMIT, taken).await.unwrap_or_else(late) else { return Ok(()) };
    // A request that is not there any more was taken at the last moment.
    let withdrawn = on_disk(&location, move |_| missing_is_none(fs::remove_file(path))).await?;
    withdrawn.map_or(Ok(()), |()| Err(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::ProcessIdentity;
    use crate::record::{Begin, Entry, Starting};

    #[tokio::test]
    async fn a_signal_that_cannot_be_sent_is_not_sent_later() {
        let state = tempfile::tempdir().unwrap();
        let location = Location::new(state.path(), &"job-1".parse().unwrap());
        let supervisor = ProcessIdentity::own().unwrap().in_another_namespace();
        let starting = Entry::Starting(Starting::for_tests(supervisor));
        location.commit(&starting, false).unwrap().unwrap();
        let begin = Begin { pid: 1, at: Timestamp::UNIX_EPOCH };
        location.append(&Entry::Started(begin)).unwrap();
        let error = send(location.clone(), &Watcher::default(), Signal::KILL).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert_eq!(location.take_signals().unwrap(), []);
    }

    #[test]
    fn requests_are_taken_once_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::at(folder.path().to_owned());
        let sent: Vec<Signal> = ["USR2", "HUP", "USR1"].map(|text| text.parse().unwrap()).into();
        for signal in &sent {
            location.request_signal(*signal).unwrap();
        }
        let withdrawn = location.request_signal(Signal::KILL).unwrap();
        fs::remove_file(withdrawn).unwrap();
        create(&folder.path().join("signal.99.1")).unwrap();
        assert_eq!(location.take_signals().unwrap(), sent);
        assert_eq!(location.take_signals().unwrap(), []);
    }
}

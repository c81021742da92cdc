//! Attaches to a job: its output from now on, and its terminal.

use std::fs;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use longshore_core::{
    AttachOutput, AttachSpec, Attachment, Error, ErrorKind, LogPosition, LogStream, Result,
    TerminalSize, TerminalSizes,
};
use tokio::sync::watch;

use crate::follow::{AttemptState, Follower};
use crate::launch::on_disk;
use crate::location::Location;
use crate::logs::logs;
use crate::stdin;
use crate::store::{create, missing_is_none};
use crate::watch::{Kind, Watcher};

/// The file with the size that the job's terminal is to have: its columns and rows.
const SIZE: &str = "size";

impl Location {
    /// Stores a request to give the job's terminal the size `size`, which replaces an earlier one.
    fn request_terminal_size(&self, size: TerminalSize) -> io::Result<()> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        // The supervisor never sees a part of it.
        let new = self.directory().join(format!("new-{SIZE}.{}-{number}", std::process::id()));
        create(&new)?.write_all(&serde_json::to_vec(&size)?)?;
        fs::rename(new, self.directory().join(SIZE))
    }

    /// Takes the request to change the size of the job's terminal.
    pub(crate) fn take_terminal_size(&self) -> io::Result<Option<TerminalSize>> {
        let path = self.directory().join(SIZE);
        // Two names, so that a size that arrives meanwhile is not lost.
        let taken = self.directory().join(format!("taken-{SIZE}"));
        if missing_is_none(fs::rename(path, &taken))?.is_none() {
            return Ok(None);
        }
        let text = fs::read(&taken)?;
        fs::remove_file(taken)?;
        Ok(serde_json::from_slice(&text).ok())
    }

    /// Returns how much output the job has written until now.
    fn end_of_output(&self) -> io::Result<LogPosition> {
        let end = |stream| {
            let starts = missing_is_none(self.output_starts(stream))?.unwrap_or_default();
            let Some(start) = starts.into_iter().max() else { return Ok(0) };
            let found = missing_is_none(fs::metadata(self.output_from(stream, start)))?;
            Ok::<_, io::Error>(start + found.map_or(0, |found| found.len()))
        };
        let mut position = LogPosition::START;
        position.stdout = end(LogStream::Stdout)?;
        position.stderr = end(LogStream::Stderr)?;
        Ok(position)
    }
}

/// Attaches to the attempt at `location`, if it runs.
pub(crate) async fn attach(
    location: Location,
    watcher: &Watcher,
    spec: AttachSpec,
) -> Result<Attachment> {
    let mut follower = Follower::new(location.clone(), watcher.clone(), Kind::Everything);
    if !matches!(follower.state().await?, AttemptState::Running(Some(_))) {
        return Err(Error::new(ErrorKind::NotFound, "the job does not run"));
    }
    let (from, has_terminal) =
        on_disk(&location, |it| Ok((it.end_of_output()?, it.has_terminal()?))).await?;
    let wanted = spec.output == AttachOutput::FromNow;
    let output = wanted.then(|| logs(location.clone(), watcher.clone(), from, true));
    let attachment = Attachment::new(output);
    if !has_terminal {
        return Ok(attachment);
    }
    let stdin = match spec.stdin {
        true => match on_disk(&location, stdin::open).await? {
            // It takes no input.
            stdin::Found::Taken => None,
            found => Some(stdin::writer(found)?),
        },
        false => None,
    };
    Ok(attachment.with_terminal(stdin, sizes(location)))
}

/// Returns what changes the size of the terminal of the attempt at `location`.
fn sizes(location: Location) -> TerminalSizes {
    let (sender, mut wanted) = watch::channel(None);
    tokio::spawn(async move {
        while wanted.changed().await.is_ok() {
            let Some(size) = *wanted.borrow_and_update() else { continue };
            let resized = on_disk(&location, move |location| {
                let Some(record) = location.read_record()? else { return Ok(()) };
                let Some(starting) = record.starting.filter(|_| record.ended.is_none()) else {
                    return Ok(());
                };
                location.request_terminal_size(size)?;
                starting.supervisor.nudge()
            });
            if let Err(error) = resized.await {
                tracing::debug!(%error, "failed to change the size of a terminal");
            }
        }
    });
    TerminalSizes::new(move |size| {
        sender.send_replace(Some(size));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_size_of_a_terminal_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::at(folder.path().to_owned());
        assert_eq!(location.take_terminal_size().unwrap(), None);
        for width in [1, 2, 3] {
            location.request_terminal_size(TerminalSize::new(width, 9)).unwrap();
        }
        assert_eq!(location.take_terminal_size().unwrap(), Some(TerminalSize::new(3, 9)));
        assert_eq!(location.take_terminal_size().unwrap(), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

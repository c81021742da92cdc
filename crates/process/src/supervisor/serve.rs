//! The supervisor's main loop: one request after another, one job at a time.

use std::io;
use std::os::unix::net::UnixStream;

use super::job::Job;
use super::start::{Launched, launch};
use super::wake::Wake;
use crate::linux::ProcessIdentity;
use crate::record::{self, End, Entry};
use crate::wire::{Answer, read_request, write_answer};

/// Serves requests until the runner's end of `connection` is closed.
pub(super) fn serve(mut connection: UnixStream, wake: &Wake) -> io::Result<()> {
    let own = ProcessIdentity::own()?;
    while let Some((request, environment)) = read_request(&mut connection)? {
        match launch(&request, environment, &own) {
            Launched::Taken => send(&mut connection, &Answer::Taken),
            Launched::Refused(refusal) => send(&mut connection, &Answer::Refused(refusal)),
            Launched::Started(job) => {
                drop(request);
                keep(job, &mut connection, wake)?;
            }
        }
    }
    Ok(())
}

/// Supervises a started job to its end.
fn keep(mut job: Box<Job>, connection: &mut UnixStream, wake: &Wake) -> io::Result<()> {
    send(connection, &Answer::Started(job.begin));
    let drained = job.supervise(wake, connection)?;
    let end = job.end(drained);
    if drained {
        job.remove_cgroup();
    }
    record_end(&mut job, end)?;
    if !drained {
        return Err(io::Error::other("some processes of the job cannot be ended"));
    }
    send(connection, &Answer::Drained);
    Ok(())
}

#[inline(never)]
fn record_end(job: &mut Job, end: End) -> io::Result<()> {
    record::append(&mut job.record, &Entry::Ended(end))?;
    if job.fsync {
        job.record.sync_all()?;
    }
    Ok(())
}

/// Sends `answer`. The runner may be dead; the record is what counts.
#[inline(never)]
fn send(connection: &mut UnixStream, answer: &Answer) {
    let _ = write_answer(connection, answer);
}

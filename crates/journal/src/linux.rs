//! Features that only Linux has: locks that belong to an open file (`F_OFD_SETLK`, fcntl(2)), and
//! inotify(7).

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// Room for some hundred events.
const BUFFER_BYTES: usize = 16 << 10;

fn range(kind: i32, offset: i64) -> libc::flock {
    libc::flock {
        // Both are constants that fit.
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: offset,
        l_len: 1,
        l_pid: 0,
    }
}

/// Locks the byte of `file` at `offset`. Returns false if it is already locked.
///
/// The byte need not exist. The kernel frees the lock when the file's last descriptor is closed,
/// even by kill -9.
pub(crate) fn try_lock(file: &File, offset: i64) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&range(libc::F_WRLCK, offset))) {
        Ok(_) => Ok(true),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Frees the lock of [`try_lock`].
pub(crate) fn unlock(file: &File, offset: i64) -> io::Result<()> {
    fcntl(file, FcntlArg::F_OFD_SETLK(&range(libc::F_UNLCK, offset)))?;
    Ok(())
}

/// Returns whether the byte at `offset` is locked through another open file. Takes no lock.
pub(crate) fn is_locked(file: &File, offset: i64) -> io::Result<bool> {
    let mut range = range(libc::F_WRLCK, offset);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut range))?;
    Ok(i32::from(range.l_type) != libc::F_UNLCK)
}

/// Reports when a process closes one of the watched files after opening it for writing.
#[derive(Debug)]
pub(crate) struct Closings {
    inotify: OwnedFd,
    watched: Vec<i32>,
    stopped: OwnedFd,
}

/// Replaces the system's misleading message, `Too many open files`, with the limit to raise.
fn limit(error: Errno) -> io::Error {
    let limit = match error {
        Errno::MFILE => "fs.inotify.max_user_instances or this process's limit of open files",
        _ => return error.into(),
    };
    io::Error::other(format!("failed to create another inotify instance: raise {limit}"))
}

/// Ends the wait for closings when dropped.
#[derive(Debug)]
pub(crate) struct Stop {
    _pipe: OwnedFd,
}

impl Closings {
    /// Starts to watch `files`.
    pub(crate) fn watch(files: &[&Path]) -> io::Result<(Self, Stop)> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(limit)?;
        let mut watched = Vec::new();
        for file in files {
            watched.push(inotify::add_watch(&inotify, *file, WatchFlags::CLOSE_WRITE)?);
        }
        let (stopped, pipe) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Self { inotify, watched, stopped }, Stop { _pipe: pipe }))
    }

    /// Waits for the next closings. Returns for each file whether it was closed, in the order of
    /// [`watch`](Self::watch), or `None` once the wait is stopped.
    pub(crate) fn next(&self) -> io::Result<Option<Vec<bool>>> {
        let mut ready = [
            PollFd::new(&self.inotify, PollFlags::IN),
            // Nothing is written to this pipe. It becomes ready when its other end closes.
            PollFd::new(&self.stopped, PollFlags::IN),
        ];
        match poll(&mut ready, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !ready[1].revents().is_empty() {
            return Ok(None);
        }
        self.read().map(Some)
    }

    fn read(&self) -> io::Result<Vec<bool>> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut closed = vec![false; self.watched.len()];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    // After an overflow it is unknown which files' events were lost.
                    let all = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                    for (closed, watched) in closed.iter_mut().zip(&self.watched) {
                        *closed |= all || *watched == event.wd();
                    }
                }
                Err(Errno::AGAIN) => return Ok(closed),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

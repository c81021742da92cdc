//! Features that only Linux has: locks that belong to an open file (`F_OFD_SETLK`, fcntl(2)), and
//! inotify(7).

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
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

/// How often a process without inotify reads the journal again.
const INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// Reports when a process closes one of the watched files after opening it for writing.
///
/// A user has only few inotify instances (`fs.inotify.max_user_instances`, 128 by default), which
/// all programs share. If they are used up, every file is reported as closed four times a second:
/// a signal that arrives too often loses nothing.
#[derive(Debug)]
pub(crate) struct Closings {
    inotify: Option<Inotify>,
    files: usize,
    stopped: OwnedFd,
}

/// An inotify instance and the descriptors of its watches.
#[derive(Debug)]
struct Inotify {
    instance: OwnedFd,
    watches: Vec<i32>,
}

impl Inotify {
    /// Watches `files`. Returns `None` if the instances (`EMFILE`), the watches (`ENOSPC`) or the
    /// memory for them are used up, or if the kernel has no inotify: inotify_init(2),
    /// inotify_add_watch(2).
    fn watch(files: &[&Path]) -> io::Result<Option<Self>> {
        let watched = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).and_then(|it| {
            let watch = |file: &&Path| inotify::add_watch(&it, *file, WatchFlags::CLOSE_WRITE);
            let watches = files.iter().map(watch).collect::<Result<_, _>>()?;
            Ok(Self { instance: it, watches })
        });
        match watched {
            Ok(inotify) => Ok(Some(inotify)),
            Err(error @ (Errno::MFILE | Errno::NOSPC | Errno::NOMEM | Errno::NOSYS)) => {
                tracing::debug!(%error, "no inotify, reading the journal periodically");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn read(&self) -> io::Result<Vec<bool>> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut closed = vec![false; self.watches.len()];
        let mut reader = inotify::Reader::new(&self.instance, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    // After an overflow it is unknown which files' events were lost.
                    let all = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                    for (closed, watched) in closed.iter_mut().zip(&self.watches) {
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

/// Ends the wait for closings when dropped.
#[derive(Debug)]
pub(crate) struct Stop {
    _pipe: OwnedFd,
}

impl Closings {
    /// Starts to watch `files`.
    pub(crate) fn watch(files: &[&Path]) -> io::Result<(Self, Stop)> {
        let inotify = Inotify::watch(files)?;
        let (stopped, pipe) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Self { inotify, files: files.len(), stopped }, Stop { _pipe: pipe }))
    }

    /// Waits for the next closings. Returns for each file whether it was closed, in the order of
    /// [`watch`](Self::watch), or `None` once the wait is stopped.
    pub(crate) fn next(&self) -> io::Result<Option<Vec<bool>>> {
        // Nothing is written to this pipe. It becomes ready when its other end closes.
        let mut ready = vec![PollFd::new(&self.stopped, PollFlags::IN)];
        let inotify = self.inotify.as_ref();
        ready.extend(inotify.map(|it| PollFd::new(&it.instance, PollFlags::IN)));
        match poll(&mut ready, inotify.is_none().then_some(&INTERVAL)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !ready[0].revents().is_empty() {
            return Ok(None);
        }
        match inotify {
            Some(inotify) => inotify.read().map(Some),
            None => Ok(Some(vec![true; self.files])),
        }
    }
}

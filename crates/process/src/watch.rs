//! Notifications about the directories of attempts. There is one inotify instance for all of them,
//! since a user has only few (`fs.inotify.max_user_instances`, 128 by default). If other programs
//! have used them up, a watch is a timer instead: everything works, more slowly.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::linux::watch_readable;
use crate::releases::Releases;
use crate::store::{CANCEL_PREFIX, RECORD};

/// Space for some hundred events.
const BUFFER_BYTES: usize = 16 << 10;

/// Which changes a watch reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Changes of the record, and requests to cancel.
    Record,
    /// Changes of the record and of the output.
    Everything,
}

/// How often a watch without inotify looks.
const INTERVAL: Duration = Duration::from_millis(250);

/// Whether `error` says that the user's instances (`EMFILE`), the user's watches (`ENOSPC`) or the
/// kernel's memory for them are used up, or that the kernel has no inotify: inotify_init(2),
/// inotify_add_watch(2).
fn is_used_up(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|it| [Errno::MFILE, Errno::NOSPC, Errno::NOMEM, Errno::NOSYS].contains(&it))
}

/// Creates watches. Cheap to clone. Starts nothing before the first watch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watcher {
    instance: Arc<Mutex<Option<Arc<Instance>>>>,
    pub(crate) releases: Releases,
}

/// One inotify instance and the task that reads it.
#[derive(Debug)]
struct Instance {
    inotify: Arc<AsyncFd<OwnedFd>>,
    watches: Mutex<HashMap<i32, Vec<Listener>>>,
    task: Mutex<Option<AbortHandle>>,
}

type Listener = (Kind, Arc<Notify>);

/// Reports changes in one directory until dropped.
#[derive(Debug)]
pub(crate) enum Watch {
    Inotify(InotifyWatch),
    /// The limit of instances or of watches is reached.
    Timer,
}

/// A watch of an inotify instance.
#[derive(Debug)]
pub(crate) struct InotifyWatch {
    instance: Arc<Instance>,
    descriptor: i32,
    notify: Arc<Notify>,
}

impl Watch {
    /// Returns after something has changed since the last call, or since the watch began. May
    /// return although nothing has changed.
    pub(crate) async fn changed(&self) {
        match self {
            Self::Inotify(watch) => watch.notify.notified().await,
            Self::Timer => sleep(INTERVAL).await,
        }
    }
}

impl Watcher {
    /// Watches `directory`. Fails with `NotFound` if it does not exist.
    pub(crate) fn watch(&self, directory: &Path, kind: Kind) -> io::Result<Watch> {
        match self.watch_with_inotify(directory, kind) {
            Ok(watch) => Ok(Watch::Inotify(watch)),
            Err(error) if is_used_up(&error) => {
                tracing::debug!(path = %directory.display(), %error, "no inotify, looking periodically");
                Ok(Watch::Timer)
            }
            Err(error) => Err(error),
        }
    }

    fn watch_with_inotify(&self, directory: &Path, kind: Kind) -> io::Result<InotifyWatch> {
        let instance = self.instance()?;
        let notify = Arc::new(Notify::new());
        // Locked over both steps, so that no watch of the same directory is dropped in between.
        let mut watches = instance.watches.lock();
        let flags = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let descriptor = inotify::add_watch(instance.inotify.get_ref(), directory, flags)?;
        watches.entry(descriptor).or_default().push((kind, Arc::clone(&notify)));
        drop(watches);
        Ok(InotifyWatch { instance, descriptor, notify })
    }

    /// Returns the running instance, or a new one if there is none or its runtime is gone.
    fn instance(&self) -> io::Result<Arc<Instance>> {
        let mut slot = self.instance.lock();
        if let Some(instance) = slot.as_ref().filter(|instance| instance.is_running()) {
            return Ok(Arc::clone(instance));
        }
        let instance = Instance::start()?;
        *slot = Some(Arc::clone(&instance));
        Ok(instance)
    }
}

impl Instance {
    fn start() -> io::Result<Arc<Self>> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let inotify = Arc::new(watch_readable(fd)?);
        let watches = Mutex::default();
        let task = Mutex::default();
        let instance = Arc::new(Self { inotify: Arc::clone(&inotify), watches, task });
        let reader = tokio::spawn(read_all(inotify, Arc::downgrade(&instance)));
        *instance.task.lock() = Some(reader.abort_handle());
        Ok(instance)
    }

    fn is_running(&self) -> bool {
        self.task.lock().as_ref().is_some_and(|task| !task.is_finished())
    }

    fn notify(&self, descriptor: i32, flags: ReadFlags, is_record: bool) {
        let watches = self.watches.lock();
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            // It is not known which watches lost events.
            watches.values().flatten().for_each(|(_, notify)| notify.notify_one());
            return;
        }
        let of_directory =
            flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED);
        for (kind, notify) in watches.get(&descriptor).into_iter().flatten() {
            if *kind == Kind::Everything || is_record || of_directory {
                notify.notify_one();
            }
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }
}

impl Drop for InotifyWatch {
    fn drop(&mut self) {
        let mut watches = self.instance.watches.lock();
        let Some(listeners) = watches.get_mut(&self.descriptor) else { return };
        listeners.retain(|(_, notify)| !Arc::ptr_eq(notify, &self.notify));
        if listeners.is_empty() {
            watches.remove(&self.descriptor);
            // Fails if the directory is gone, and its watch with it.
            let _ = inotify::remove_watch(self.instance.inotify.get_ref(), self.descriptor);
        }
    }
}

/// Reads notifications until the instance is gone.
async fn read_all(inotify: Arc<AsyncFd<OwnedFd>>, instance: Weak<Instance>) {
    // No part of the future, which is moved when its task begins.
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
    while let Ok(mut ready) = inotify.readable().await {
        let Some(instance) = instance.upgrade() else { return };
        let mut reader = inotify::Reader::new(inotify.get_ref(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name();
                    let is_record = name.is_some_and(|name| {
                        let name = name.to_bytes();
                        name == RECORD.as_bytes() || name.starts_with(CANCEL_PREFIX.as_bytes())
                    });
                    instance.notify(event.wd(), event.events(), is_record);
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
        ready.clear_ready();
    }
}

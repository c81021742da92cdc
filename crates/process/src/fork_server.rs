//! Forks supervisors from one process that was executed for that.
//!
//! An executed program has memory of its own for each address that its loader fixes, which is most of
//! what a supervisor uses. The supervisors that are forked from one process share that memory. This
//! process itself cannot be forked, as it has threads.
//!
//! The fork server has one thread and knows nothing of the jobs. If it ends, no job is affected. A
//! supervisor that cannot be forked is executed.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::connection::{Connection, INIT_LIMIT};
use crate::supervisor::FORK_SERVER;

/// The fork server of one runner. It is started when it is first used.
#[derive(Debug, Default)]
pub(crate) struct ForkServer {
    state: Mutex<State>,
    /// Whether it has ever forked a supervisor.
    works: AtomicBool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    NotStarted,
    Running(Connection),
    /// It cannot be started, or cannot fork, on this system.
    Unusable,
}

impl ForkServer {
    /// Returns a forked supervisor, or `None` if that failed. Must not be dropped midway: see
    /// [`Connection::forked`].
    pub(crate) async fn fork(&self) -> Option<Connection> {
        match self.try_fork().await {
            Ok(Some(connection)) => {
                self.works.store(true, Ordering::Relaxed);
                Some(connection)
            }
            Ok(None) => None,
            Err(error) => {
                tracing::debug!(%error, "failed to fork a supervisor");
                let works = self.works.load(Ordering::Relaxed);
                // One that was killed is replaced.
                *self.state.lock().await = if works { State::NotStarted } else { State::Unusable };
                None
            }
        }
    }

    async fn try_fork(&self) -> io::Result<Option<Connection>> {
        let (ours, theirs) = UnixStream::pair()?;
        {
            let mut state = self.state.lock().await;
            if let State::NotStarted = *state {
                let mut connection = Connection::start(&[FORK_SERVER])?;
                connection.greet().await?;
                *state = State::Running(connection);
            }
            let State::Running(connection) = &*state else { return Ok(None) };
            timeout(INIT_LIMIT, send(connection, &theirs)).await??;
        }
        drop(theirs);
        Connection::forked(ours).await.map(Some)
    }

    /// Ends the fork server. It is started again when it is used again.
    pub(crate) fn release(&self) {
        // If it is locked, it is being used.
        if let Ok(mut state) = self.state.try_lock()
            && let State::Running(_) = *state
        {
            *state = State::NotStarted;
        }
    }
}

/// Sends the fork server a new supervisor's end of its connection.
async fn send(server: &Connection, theirs: &UnixStream) -> io::Result<()> {
    let stream = server.stream();
    let sending = stream.async_io(Interest::WRITABLE, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [theirs.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        // At least one byte carries the descriptor.
        let sent = sendmsg(stream, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL);
        Ok(sent.map(drop)?)
    });
    sending.await
}

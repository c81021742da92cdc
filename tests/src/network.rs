//! Servers that never answer, on the loopback interface.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// A server that accepts connections and never sends anything. Its thread ends with the program.
pub(crate) struct Silent {
    address: SocketAddr,
    accepted: Receiver<()>,
}

impl Silent {
    pub(crate) fn new() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (sender, accepted) = mpsc::channel();
        thread::spawn(move || {
            // Keeps the connections open while the program runs.
            let mut held = Vec::new();
            for connection in listener.incoming().flatten() {
                held.push(connection);
                if sender.send(()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { address, accepted })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections, and accepts no more.
    pub(crate) fn hang_up(self) -> Result<()> {
        let Self { address, accepted } = self;
        drop(accepted);
        // With this last connection, the thread notices that the receiver is gone.
        TcpStream::connect(address).context("failed to end the silence").map(drop)
    }

    /// Returns whether a client has connected since the last call.
    pub(crate) fn is_connected(&self) -> bool {
        self.accepted.try_recv().is_ok()
    }

    /// Waits until a client has connected.
    pub(crate) fn until_connected(&self) -> Result<()> {
        self.accepted
            .recv_timeout(Duration::from_secs(60))
            .context("no client connected in a minute")
    }
}

/// Returns an address on which no process listens.
pub(crate) fn refusing() -> Result<SocketAddr> {
    // The port is freed at once; no listener of a test gets the same port again so soon.
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

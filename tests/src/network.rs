//! Servers that answer nothing, on the loopback interface.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// Accepts connections and never says a word. Its thread ends with the program.
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
            // Held open for as long as the program runs.
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

    /// Closes all connections, and takes no more.
    pub(crate) fn hang_up(self) -> Result<()> {
        let Self { address, accepted } = self;
        drop(accepted);
        // One more, at which the thread sees that nobody counts them any longer.
        TcpStream::connect(address).context("failed to end the silence").map(drop)
    }

    /// Waits until somebody has connected.
    pub(crate) fn until_connected(&self) -> Result<()> {
        self.accepted.recv_timeout(Duration::from_secs(60)).context("nobody connected in a minute")
    }
}

/// An address at which nobody listens.
pub(crate) fn refusing() -> Result<SocketAddr> {
    // Freed at once; a listener of a test never gets the same port again so soon.
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

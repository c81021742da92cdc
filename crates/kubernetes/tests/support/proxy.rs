//! A proxy in front of the API server that can be cut or frozen.

use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A port on loopback that forwards to another port, or closes its connections.
pub(crate) struct Proxy {
    /// Its address.
    pub(crate) address: String,
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy)]
struct State {
    open: bool,
    /// How many times the existing connections have been cut.
    cut: u32,
    /// How many times they have been frozen.
    frozen: u32,
}

impl Proxy {
    /// Creates an open proxy to `target` (`HOST:PORT`).
    pub(crate) async fn to(target: String) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let state = Arc::new(watch::Sender::new(State { open: true, cut: 0, frozen: 0 }));
        let seen = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, target.clone(), seen.subscribe()));
            }
        });
        Ok(Self { address, state })
    }

    /// Cuts every connection, and closes new ones at once.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| {
            state.open = false;
            state.cut += 1;
        });
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    /// Keeps every connection open, but carries nothing more on it in either direction. New ones
    /// work.
    pub(crate) fn freeze(&self) {
        self.state.send_modify(|state| state.frozen += 1);
    }
}

async fn carry(mut client: TcpStream, target: String, mut state: watch::Receiver<State>) {
    let State { open, cut, frozen } = *state.borrow_and_update();
    if !open {
        return;
    }
    let Ok(mut server) = TcpStream::connect(&target).await else { return };
    let change = state.wait_for(|state| state.cut != cut || state.frozen != frozen);
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return,
        _ = change => {}
    }
    // Keep the sockets open until the proxy is cut.
    let _ = state.wait_for(|state| state.cut != cut).await;
}

//! An HTTP proxy with the method CONNECT, in front of the API server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// What the proxy answers to CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It opens a tunnel.
    Open,
    /// It opens a tunnel for the login `me:hunter2`, and demands it otherwise.
    Login,
    /// It refuses.
    Refusing,
    /// It sends the client to itself again.
    Redirecting,
    /// It has seen that it would ask itself (RFC 5842).
    Looping,
    /// It never answers.
    Silent,
    /// It sends a header that does not end.
    Endless,
}

/// A proxy on loopback whose tunnels all lead to one server, whatever name the client gives.
pub(crate) struct ConnectProxy {
    /// Its address.
    pub(crate) address: String,
    tunnels: Arc<AtomicUsize>,
}

impl ConnectProxy {
    /// Creates a proxy whose tunnels lead to `target` (`HOST:PORT`).
    pub(crate) async fn to(target: String, manner: Manner) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let tunnels = Arc::new(AtomicUsize::new(0));
        let counted = tunnels.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, target.clone(), manner, counted.clone()));
            }
        });
        Ok(Self { address, tunnels })
    }

    /// Returns how many tunnels it has opened.
    pub(crate) fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut client: TcpStream,
    target: String,
    manner: Manner,
    tunnels: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    // The Base64 of `me:hunter2`.
    let known = head.contains("Proxy-Authorization: Basic bWU6aHVudGVyMg==");
    if !head.starts_with("CONNECT ") || manner == Manner::Refusing {
        return client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
    }
    match manner {
        Manner::Login if !known => {
            client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await
        }
        Manner::Redirecting => {
            let address = client.local_addr()?;
            let answer = format!("HTTP/1.1 302 Found\r\nLocation: http://{address}/\r\n\r\n");
            client.write_all(answer.as_bytes()).await
        }
        Manner::Looping => client.write_all(b"HTTP/1.1 508 Loop Detected\r\n\r\n").await,
        Manner::Silent => client.read_u8().await.map(drop),
        Manner::Endless => {
            client.write_all(b"HTTP/1.1 200 OK\r\nX-Endless: ").await?;
            loop {
                client.write_all(&[b'x'; 4096]).await?;
            }
        }
        _ => {
            let mut server = TcpStream::connect(target).await?;
            tunnels.fetch_add(1, Ordering::SeqCst);
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
            copy_bidirectional(&mut client, &mut server).await.map(drop)
        }
    }
}

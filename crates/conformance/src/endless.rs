//! A server that sends without end, for tests of what a client reads at most.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a client may take to give up an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This text, the head included. The connection stays open.
    Whole(String),
    /// These bytes, and then `piece` again and again.
    Endless {
        /// How it begins, with its head.
        begin: Vec<u8>,
        /// What follows without end.
        piece: Vec<u8>,
    },
}

impl Answer {
    /// Returns a whole answer with the status 200 and `body`.
    #[must_use]
    pub fn ok(body: &str) -> Self {
        Self::Whole(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// Returns an answer that begins with `begin` and goes on with the letter x.
    #[must_use]
    pub fn endless(begin: impl Into<Vec<u8>>) -> Self {
        Self::Endless { begin: begin.into(), piece: vec![b'x'; 64 << 10] }
    }
}

/// A server on loopback. It reports each connection that the client gives up during an endless answer.
#[derive(Debug)]
pub struct EndlessServer {
    address: String,
    given_up: mpsc::UnboundedReceiver<usize>,
}

impl EndlessServer {
    /// Starts a server whose answers are those of `answer`, which receives the head of each request.
    ///
    /// # Errors
    /// If there is no free port.
    pub async fn start(
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (report, given_up) = mpsc::unbounded_channel();
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (report, answer) = (report.clone(), Arc::clone(&answer));
                tokio::spawn(async move {
                    let sent = AtomicUsize::new(0);
                    drop(serve(client, &*answer, &sent).await);
                    let sent = sent.load(Ordering::SeqCst);
                    if sent > 0 {
                        let _ = report.send(sent);
                    }
                });
            }
        });
        Ok(Self { address, given_up })
    }

    /// The server's `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits until the client gives up an endless answer, and returns how many bytes of it were sent.
    /// `None` if the client still reads after a minute.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn given_up(&mut self) -> Option<usize> {
        timeout(PATIENCE, self.given_up.recv()).await.ok().flatten()
    }
}

async fn serve(
    client: TcpStream,
    answer: &(dyn Fn(&str) -> Answer + Send + Sync),
    sent: &AtomicUsize,
) -> io::Result<()> {
    let mut client = BufReader::new(client);
    loop {
        let (mut request, mut line) = (String::new(), String::new());
        while client.read_line(&mut line).await? > 2 {
            request.push_str(&line);
            line.clear();
        }
        if request.is_empty() {
            return Ok(());
        }
        match answer(&request) {
            Answer::Whole(text) => client.write_all(text.as_bytes()).await?,
            Answer::Endless { begin, piece } => {
                client.write_all(&begin).await?;
                loop {
                    sent.fetch_add(client.write(&piece).await?, Ordering::SeqCst);
                }
            }
        }
    }
}

/// Returns the most memory that this process has had, in bytes, if the system reports it.
#[must_use]
pub fn peak_memory() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<usize>().ok().map(|kib| kib << 10)
}

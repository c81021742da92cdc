//! A proxy of the real registry that fails on demand, from a given moment on.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::http::{Head, ask, body_of};

/// How it fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Not at all.
    #[default]
    Healthy,
    /// It answers each request for an image with this status.
    Status(u16),
    /// It accepts each request for an image and sends nothing, until it is turned.
    Silent,
    /// It sends half of each layer, and the rest when it is turned.
    HalfLayers,
    /// It sends half of the next layer and never the rest, and is healthy from then on.
    StallOnce,
    /// It sends each layer with one bit changed.
    Corrupt,
    /// It breaks off in the middle of each layer.
    Truncate,
}

/// A registry on its own port, for as long as the runtime runs.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    /// The value of `Authorization` that it requires.
    wants: Option<String>,
    mode: watch::Sender<Mode>,
    seen: Mutex<Vec<String>>,
    /// Connections that the engine closed while they waited.
    hung_up: watch::Sender<u32>,
    kept: watch::Sender<u32>,
}

impl Faulty {
    /// A healthy one in front of `upstream` (`HOST:PORT`); it requires `login` (a name and a
    /// password), if given.
    pub(crate) async fn start(
        upstream: &str,
        login: Option<(&str, &str)>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let basic = |(name, password)| STANDARD.encode(format!("{name}:{password}"));
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            wants: login.map(basic).map(|value| format!("Basic {value}")),
            mode: watch::Sender::default(),
            seen: Mutex::default(),
            hung_up: watch::Sender::default(),
            kept: watch::Sender::default(),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move { shared.serve(stream).await });
            }
        });
        Ok(Self { address, shared })
    }

    pub(crate) fn turn(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// The number of requests whose line begins with `method` and contains `part`.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        let asked = |line: &&String| line.starts_with(method) && line.contains(part);
        self.shared.seen().iter().filter(asked).count()
    }

    /// The lines of all requests: method and path.
    pub(crate) fn log(&self) -> Vec<String> {
        self.shared.seen().clone()
    }

    /// How many connections wait, or have waited.
    pub(crate) fn kept(&self) -> watch::Receiver<u32> {
        self.shared.kept.subscribe()
    }

    /// How many waiting connections the engine has closed.
    pub(crate) fn hung_up(&self) -> watch::Receiver<u32> {
        self.shared.hung_up.subscribe()
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Vec<String>> {
        self.seen.lock()
    }

    async fn serve(&self, mut stream: TcpStream) {
        let Some(head) = Head::read(&mut stream).await else {
            // Like other servers, it answers a request that is not HTTP with HTTP.
            let _ =
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
            return;
        };
        self.seen().push(format!("{} {}", head.method, head.path));
        let mode = self.mode.borrow().clone();
        let about_image = head.path.contains("/manifests/") || head.path.contains("/blobs/");
        let _ = match mode {
            _ if self.wants.is_some() && head.get("authorization") != self.wants.as_deref() => {
                refuse(&mut stream, 401).await
            }
            Mode::Status(status) if about_image => refuse(&mut stream, status).await,
            Mode::Silent if about_image => match self.keep(&mut stream).await {
                true => self.hand_on(&head, &mut stream).await,
                false => Ok(()),
            },
            _ => self.hand_on(&head, &mut stream).await,
        };
    }

    /// Forwards the real registry's answer.
    async fn hand_on(&self, head: &Head, stream: &mut TcpStream) -> std::io::Result<()> {
        let accept: Vec<&str> = head
            .lines
            .iter()
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| name.eq_ignore_ascii_case("accept"))
            .map(|(_, value)| value.trim())
            .collect();
        let accept = accept.join(", ");
        let mut answer =
            ask(&self.upstream, &head.method, &head.path, &[("Accept", &accept)], b"").await?;
        let body = body_of(&answer);
        // Everything but a layer is JSON.
        let is_layer = head.path.contains("/blobs/") && !body.is_empty() && body[0] != b'{';
        let half = answer.len() - body.len() / 2;
        let mode = self.mode.borrow().clone();
        match mode {
            Mode::HalfLayers if is_layer => {
                stream.write_all(&answer[..half]).await?;
                if self.keep(stream).await {
                    stream.write_all(&answer[half..]).await?;
                }
            }
            Mode::StallOnce if is_layer => {
                self.mode.send_replace(Mode::Healthy);
                stream.write_all(&answer[..half]).await?;
                // The engine, or the end of the case, closes it.
                let _ = stream.read_u8().await;
            }
            Mode::Corrupt if is_layer => {
                answer[half] ^= 1;
                stream.write_all(&answer).await?;
            }
            Mode::Truncate if is_layer => stream.write_all(&answer[..half]).await?,
            _ => stream.write_all(&answer).await?,
        }
        stream.shutdown().await
    }

    /// Waits until it is turned (true), or the engine closes the connection.
    async fn keep(&self, stream: &mut TcpStream) -> bool {
        let mut mode = self.mode.subscribe();
        self.kept.send_modify(|kept| *kept += 1);
        tokio::select! {
            turned = mode.changed() => turned.is_ok(),
            _ = stream.read_u8() => {
                self.hung_up.send_modify(|hung_up| *hung_up += 1);
                false
            }
        }
    }
}

async fn refuse(stream: &mut TcpStream, status: u16) -> std::io::Result<()> {
    let code = match status {
        401 => "UNAUTHORIZED",
        403 => "DENIED",
        404 => "MANIFEST_UNKNOWN",
        429 => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    };
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"it failed on demand"}}]}}"#);
    let more = match status {
        401 => "WWW-Authenticate: Basic realm=\"x\"\r\n",
        429 => "Retry-After: 1\r\n",
        _ => "",
    };
    let answer = format!(
        "HTTP/1.1 {status} Status\r\nConnection: close\r\nContent-Type: application/json\r\n{more}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

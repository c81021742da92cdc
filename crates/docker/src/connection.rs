//! The way to one engine: its address, and the version of the API that both sides know.

use std::time::Duration;

use futures::TryFutureExt;
use longshore_core::RequestCounter;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::body::Body;
use crate::endpoint::{Address, Endpoint};
use crate::fault::{Cause, Fault};
use crate::greeting::{ApiVersion, Greeting};
use crate::http::{Call, Http, is_signed};
use crate::target::{Target, resolve};

/// An engine that has answered once.
#[derive(Debug)]
pub(crate) struct Connection {
    http: Http,
    pub(crate) endpoint: Endpoint,
    pub(crate) target: Target,
    greeting: Mutex<Greeting>,
}

impl Connection {
    /// Asks the engine at `endpoint` for its version, within `limit`. The connection stays
    /// with the engine to which the address leads now.
    pub(crate) async fn open(
        endpoint: Endpoint,
        requests: RequestCounter,
        limit: Duration,
    ) -> Result<Self, Fault> {
        let address = match &endpoint.address {
            Address::Unix(path) => Address::Unix(resolve(path)),
            address => address.clone(),
        };
        let target = Target::of(&address);
        let http = Http::new(address, requests).map_err(|cause| Fault::new(cause, &endpoint))?;
        let greeting = Mutex::new(ask(&http, &endpoint, limit).await?);
        Ok(Self { http, endpoint, target, greeting })
    }

    /// Asks the engine again.
    pub(crate) async fn greet(&self, limit: Duration) -> Result<(), Fault> {
        let greeting = ask(&self.http, &self.endpoint, limit).await?;
        *self.greeting.lock() = greeting;
        Ok(())
    }

    pub(crate) fn greeting(&self) -> Greeting {
        self.greeting.lock().clone()
    }

    pub(crate) fn version(&self) -> ApiVersion {
        self.greeting.lock().version
    }

    /// The beginning of each path.
    fn prefix(&self) -> String {
        format!("/v{}", self.version())
    }

    /// Sends `call`. An answer counts only if it is the engine's: a gateway in front of an engine that
    /// is away answers 404 or 502, or 200 with a page.
    pub(crate) async fn send(&self, call: Call) -> Result<(http::Response<()>, Body), Fault> {
        match self.http.send(&self.prefix(), call).await {
            Ok((head, _)) if self.signs() && !is_signed(head.headers()) => {
                Err(Fault::of_stranger(head.status().as_u16(), "", &self.endpoint))
            }
            sent => sent.map_err(|cause| self.fault(cause)),
        }
    }

    /// Whether the engine's answers arrive with its header.
    fn signs(&self) -> bool {
        self.greeting.lock().signs
    }

    /// Classifies a failure. A proxy may deny access in the engine's place.
    fn fault(&self, cause: Cause) -> Fault {
        match cause {
            Cause::Answered { status, message, is_signed: false }
                if self.signs() && !matches!(status, 401 | 403 | 429) =>
            {
                Fault::of_stranger(status, &message, &self.endpoint)
            }
            cause => Fault::new(cause, &self.endpoint),
        }
    }

    /// Sends `call`, after which the connection carries raw bytes both ways.
    pub(crate) async fn hijack(
        &self,
        call: Call,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, Fault> {
        let hijacked = self.http.hijack(&self.prefix(), call).await;
        hijacked.map_err(|cause| self.fault(cause))
    }
}

async fn ask(http: &Http, endpoint: &Endpoint, limit: Duration) -> Result<Greeting, Fault> {
    let asked = Greeting::ask(http).map_err(|cause| Fault::new(cause, endpoint));
    // Seldom needed, and large: it is no part of the future of each request.
    let greeting = timeout(limit, Box::pin(asked)).await;
    let greeting = greeting.unwrap_or_else(|_| Err(Fault::timed_out(limit, endpoint)));
    greeting.map_err(|fault| fault.of_greeting(endpoint))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use longshore_core::RunnerName;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    /// An engine at `path` whose API has the version `version`.
    fn engine(path: &Path, version: &'static str) {
        let listener = UnixListener::bind(path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let _ = client.read(&mut [0; 4096]).await;
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nApi-Version";
                let _ = client.write_all(format!("{head}: {version}\r\n\r\n").as_bytes()).await;
            }
        });
    }

    /// A link to a socket was changed while a runner had jobs there, and its next requests went to
    /// another engine.
    #[tokio::test]
    async fn a_link_that_changes_led_to_another_engine() {
        let folder = tempfile::tempdir().unwrap();
        let [link, first, second] = ["docker.sock", "a", "b"].map(|name| folder.path().join(name));
        engine(&first, "1.41");
        engine(&second, "1.42");
        symlink(&first, &link).unwrap();
        let endpoint = Endpoint { address: Address::Unix(link.clone()), named_by: None };
        let requests = RequestCounter::new(&RunnerName::docker());
        let limit = Duration::from_secs(60);
        let connection = Connection::open(endpoint.clone(), requests, limit).await.unwrap();
        assert_eq!(connection.target, Target::of(&endpoint.address));
        std::fs::remove_file(&link).unwrap();
        symlink(&second, &link).unwrap();
        connection.greet(limit).await.unwrap();
        assert_eq!(connection.version().to_string(), "1.41");
        assert_ne!(connection.target, Target::of(&endpoint.address));
    }
}

//! Requests to the engine, each on a connection of its own, so that none fails because the engine has
//! closed an idle one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use http::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use longshore_core::RequestCounter;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use tower::ServiceExt;

use crate::body::Body;
use crate::endpoint::Address;
use crate::fault::Cause;
use crate::zone;

/// The most bytes of the head of an answer, and of what is read ahead of a body.
const HEAD: usize = 256 << 10;
/// The header in which an engine names the newest version of its API.
pub(crate) const API_VERSION: &str = "api-version";
/// How much of the body of a failure is read.
const FAILURE: usize = 8 << 10;

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    /// The path without the API's version, and the query.
    target: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, target: path.into(), headers: Vec::new(), body: Bytes::new() }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn head(path: impl Into<String>) -> Self {
        Self::new(Method::HEAD, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Adds the query; a call has at most one.
    pub(crate) fn query(mut self, pairs: &[(&str, &str)]) -> Self {
        self.target.push('?');
        let begin = self.target.len();
        let mut query = form_urlencoded::Serializer::for_suffix(self.target, begin);
        query.extend_pairs(pairs);
        self.target = query.finish();
        self
    }

    /// Adds a body.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, Cause> {
        self.body = serde_json::to_vec(body)?.into();
        self.headers.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        Ok(self)
    }

    /// Adds a header, which no log shows.
    pub(crate) fn secret_header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }
}

/// How to reach an engine.
pub(crate) struct Http {
    address: Address,
    /// The value of the header `Host`.
    host: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    requests: RequestCounter,
}

trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Connects to `host`. `scheme` determines the port if `host` has none.
async fn connect(scheme: &str, host: &str) -> Result<TcpStream, Cause> {
    if let Some((address, port)) = zone::resolvable(host) {
        let stream = TcpStream::connect((address, port)).await;
        let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        return stream.map_err(|error| Cause::Connect(error.into()));
    }
    let uri = format!("{scheme}://{host}").parse::<Uri>().map_err(|_| Cause::Address)?;
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let stream = connector.oneshot(uri).await.map_err(|error| Cause::Connect(error.into()))?;
    Ok(stream.into_inner())
}

impl Http {
    /// Reads the certificates, if there are any. Does not connect.
    pub(crate) fn new(address: Address, requests: RequestCounter) -> Result<Self, Cause> {
        let (host, tls) = match &address {
            Address::Unix(_) => ("docker", None),
            Address::Http(host) => (host.as_str(), None),
            Address::Tls { host, certificates } => (host.as_str(), Some(tls(host, certificates)?)),
        };
        let host = HeaderValue::from_str(&zone::without(host)).map_err(|_| Cause::Address)?;
        Ok(Self { address, host, tls, requests })
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, Cause> {
        let (scheme, host) = match &self.address {
            Address::Unix(path) => {
                return match UnixStream::connect(path).await {
                    Ok(stream) => Ok(Box::new(stream)),
                    Err(error) => Err(Cause::Connect(error.into())),
                };
            }
            Address::Http(host) => ("http", host),
            Address::Tls { host, .. } => ("https", host),
        };
        let stream = connect(scheme, host).await?;
        let Some((tls, name)) = &self.tls else { return Ok(Box::new(stream)) };
        match tls.connect(name.clone(), stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(Cause::Connect(error.into())),
        }
    }

    /// Sends `call`, and returns the answer if it is a success.
    pub(crate) async fn send(
        &self,
        version: &str,
        call: Call,
    ) -> Result<(Response<()>, Body), Cause> {
        let (answer, connection) = self.exchange(version, call).await?;
        let (head, incoming) = answer.into_parts();
        let body = Body::new(incoming, connection);
        if head.status.is_success() || head.status == StatusCode::NOT_MODIFIED {
            return Ok((Response::from_parts(head, ()), body));
        }
        // The status decides, whatever follows.
        let said = body.beginning(FAILURE).await.unwrap_or_default();
        let (status, is_signed) = (head.status.as_u16(), is_signed(&head.headers));
        Err(Cause::Answered { status, message: message(&said), is_signed })
    }

    /// Sends `call`, after which the connection carries raw bytes both ways.
    pub(crate) async fn hijack(
        &self,
        version: &str,
        mut call: Call,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, Cause> {
        call.headers.push((CONNECTION, HeaderValue::from_static("Upgrade")));
        call.headers.push((UPGRADE, HeaderValue::from_static("tcp")));
        let (answer, connection) = self.exchange(version, call).await?;
        let status = answer.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            let is_signed = is_signed(answer.headers()) || is_raw(answer.headers());
            let said = Body::new(answer.into_body(), connection).beginning(FAILURE).await;
            let message = message(&said.unwrap_or_default());
            return Err(Cause::Answered { status: status.as_u16(), message, is_signed });
        }
        let (upgraded, ()) = tokio::join!(hyper::upgrade::on(answer), connection);
        Ok(TokioIo::new(upgraded?))
    }

    async fn exchange(
        &self,
        version: &str,
        call: Call,
    ) -> Result<(Response<Incoming>, BoxFuture<'static, ()>), Cause> {
        let exchanged = self.request(version, call).await;
        match &exchanged {
            Ok((answer, _)) => self.requests.answered(answer.status().as_u16()),
            Err(_) => self.requests.unanswered(),
        }
        exchanged
    }

    async fn request(
        &self,
        version: &str,
        call: Call,
    ) -> Result<(Response<Incoming>, BoxFuture<'static, ()>), Cause> {
        let target = format!("{version}{}", call.target);
        tracing::debug!(method = %call.method, target, "requesting");
        let request = Request::builder().method(call.method).uri(target).header(HOST, &self.host);
        let mut request = request.body(Full::new(call.body)).map_err(|_| Cause::Address)?;
        request
            .headers_mut()
            .extend(call.headers.into_iter().map(|(name, value)| (Some(name), value)));
        // The handshake of TLS would make every future large.
        let stream = TokioIo::new(Box::pin(self.connect()).await?);
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(HEAD).handshake(stream).await?;
        // The body, or its absence, shows an error of the connection.
        let mut connection = connection.with_upgrades().map(|_| ()).boxed();
        let mut answer = std::pin::pin!(sender.send_request(request));
        let answer = tokio::select! {
            biased;
            answer = &mut answer => answer,
            () = &mut connection => return Ok((answer.await?, futures::future::ready(()).boxed())),
        };
        Ok((answer?, connection))
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Whether an answer has the header that an engine writes to its answers. Only the one to a path that it
/// does not know lacks it.
pub(crate) fn is_signed(headers: &HeaderMap) -> bool {
    headers.contains_key(API_VERSION)
}

/// Whether an answer has the type that an engine gives to a connection with raw bytes. It writes it by
/// itself, without its usual headers, also if it then refuses the connection.
fn is_raw(headers: &HeaderMap) -> bool {
    let of_engine = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/vnd.docker.");
    headers.get(CONTENT_TYPE).is_some_and(of_engine)
}

/// The engine's message about a failure.
fn message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Failure {
        message: String,
    }
    match serde_json::from_slice::<Failure>(body) {
        Ok(failure) => failure.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    }
}

/// As the docker command with TLS: only `ca.pem` is trusted, and `cert.pem` and `key.pem` are shown.
fn tls(host: &str, folder: &Path) -> Result<(TlsConnector, ServerName<'static>), Cause> {
    let read = |name: &str| -> Result<Vec<CertificateDer<'static>>, Cause> {
        let path = folder.join(name);
        let certificates =
            CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match certificates {
            // Without this, a file with a key trusts nobody, and the error blames the engine.
            Ok(found) if found.is_empty() => Err(certificate(path, "it has no certificate in PEM")),
            Ok(found) => Ok(found),
            Err(error) => Err(certificate(path, error)),
        }
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(read("ca.pem")?);
    let provider = Arc::new(crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.map_err(Cause::Tls)?.with_root_certificates(roots);
    let key = folder.join("key.pem");
    let tls = if key.exists() {
        let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| certificate(key, error))?;
        tls.with_client_auth_cert(read("cert.pem")?, key).map_err(Cause::Tls)?
    } else {
        tls.with_no_client_auth()
    };
    let uri = format!("https://{}", zone::without(host));
    let uri = uri.parse::<Uri>().map_err(|_| Cause::Address)?;
    let name = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(name).map_err(|_| Cause::Address)?;
    Ok((TlsConnector::from(Arc::new(tls)), name))
}

fn certificate(path: PathBuf, error: impl Into<crate::fault::BoxError>) -> Cause {
    Cause::Certificate { path, error: error.into() }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use tokio::net::TcpListener;

    use super::*;

    /// The name of the zone was looked up as a part of a host name.
    #[tokio::test]
    async fn an_engine_at_an_address_with_a_zone_is_reached() {
        let engine = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
        // The loopback interface has the index 1.
        let host = format!("[::1%251]:{}", engine.local_addr().unwrap().port());
        let (reached, accepted) = tokio::join!(connect("http", &host), engine.accept());
        assert_eq!(reached.unwrap().local_addr().unwrap(), accepted.unwrap().1);
    }
}

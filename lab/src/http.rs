//! A minimal HTTP client for the lab, over TCP and over a Unix socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The address of a server.
#[derive(Debug, Clone)]
pub enum Server {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// A server, and the login for it.
pub(crate) struct Client {
    pub server: Server,
    /// The value of the Authorization header.
    pub authorization: Option<String>,
}

impl Client {
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        let login = self.authorization.as_deref().map(|value| ("Authorization", value));
        let headers: Vec<_> = headers.iter().copied().chain(login).collect();
        self.server.request(method, path, &headers, body)
    }
}

/// The answer to a request.
#[derive(Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The names and values of the headers, as they were sent.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// Returns the value of a header. Its name is not case-sensitive.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }
}

impl Server {
    /// Requests `path` with GET.
    ///
    /// # Errors
    /// If there is no complete answer within ten seconds of silence. Any status is an answer.
    pub fn get(&self, path: &str) -> Result<Response> {
        self.request("GET", path, &[], &[])
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        let answer = match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, TIMEOUT)
                    .with_context(|| format!("failed to connect to {address}"))?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                exchange(stream, &head(method, path, &address.to_string(), headers, body), body)
            }
            Self::Unix(socket) => {
                let stream = UnixStream::connect(socket)
                    .with_context(|| format!("failed to connect to {}", socket.display()))?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                exchange(stream, &head(method, path, "localhost", headers, body), body)
            }
        };
        let answer = answer.with_context(|| format!("failed to {method} {path}"))?;
        parse(&answer)
            .with_context(|| format!("failed to understand the answer to {method} {path}"))
    }
}

/// Returns the head of a request in HTTP version 1.0, in which the answer ends
/// with the connection and is not chunked.
fn head(method: &str, path: &str, host: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    let mut head = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    head
}

fn exchange(mut stream: impl Read + Write, head: &str, body: &[u8]) -> Result<Vec<u8>> {
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    };
    let headers = lines.filter_map(pair).collect();
    Some(Response { status, headers, body: answer[end + 4..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_status_headers_and_body() {
        let answer = parse(b"HTTP/1.0 202 Accepted\r\nLocation: /x?a=b:c\r\n\r\nbody").unwrap();
        assert_eq!(answer.status, 202);
        assert_eq!(answer.header("location"), Some("/x?a=b:c"));
        assert_eq!(answer.body, b"body");
    }

    #[test]
    fn half_an_answer_is_none() {
        assert!(parse(b"HTTP/1.0 200 OK\r\nLoca").is_none());
    }
}

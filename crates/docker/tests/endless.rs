//! A server that sends without end where the engine should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use longshore_core::{
    Attempt, ErrorKind, InstallationId, JobId, JobSpec, LogPosition, Runner, RunnerName,
};
use longshore_docker::{DockerConfig, DockerRunner};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// More than the bound of any answer that is read here, with what a connection buffers.
const BOUND: usize = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// What the server sends without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endless {
    /// The answer to each request.
    Body,
    /// The body of a failure.
    Failure,
    /// A header of each answer.
    Header,
    /// Headers of each answer.
    Headers,
    /// The first line of the events.
    Event,
    /// The first record of the output.
    Record,
}

/// A server on loopback. Each connection that the client gives up is reported, with how many bytes
/// it has carried without end.
struct Server {
    address: String,
    given_up: mpsc::UnboundedReceiver<usize>,
}

impl Server {
    async fn start(endless: Endless) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (report, given_up) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let report = report.clone();
                tokio::spawn(async move {
                    let sent = Arc::new(AtomicUsize::new(0));
                    drop(serve(client, endless, &sent).await);
                    let sent = sent.load(Ordering::SeqCst);
                    if sent > 0 {
                        let _ = report.send(sent);
                    }
                });
            }
        });
        Self { address, given_up }
    }

    fn runner(&self) -> DockerRunner {
        let mut config = DockerConfig::default();
        config.host = Some(format!("tcp://{}", self.address));
        config.tls_verify = Some(false);
        DockerRunner::new(RunnerName::docker(), config)
    }

    /// Waits until the client gives up an answer without end, and checks that it did in time.
    async fn is_given_up(&mut self) {
        let sent = timeout(PATIENCE, self.given_up.recv())
            .await
            .expect("it is given up")
            .expect("a report");
        assert!(sent <= BOUND, "{sent} bytes");
    }
}

async fn serve(client: TcpStream, endless: Endless, sent: &AtomicUsize) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    let mut request = String::new();
    let mut line = String::new();
    while client.read_line(&mut line).await? > 2 {
        request.push_str(&line);
        line.clear();
    }
    let has_end = match endless {
        Endless::Event => !request.contains("/events"),
        Endless::Record => !request.contains("/logs"),
        _ => false,
    };
    if has_end && request.contains("/version") {
        let version = r#"{"ApiVersion":"1.44"}"#;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", version.len());
        return client.write_all(format!("{head}{version}").as_bytes()).await;
    }
    if has_end {
        return client.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    }
    let begin: &[u8] = match endless {
        Endless::Header => b"HTTP/1.1 200 OK\r\nX-Endless: ",
        Endless::Headers => b"HTTP/1.1 200 OK\r\n",
        Endless::Failure => b"HTTP/1.1 500 Oh\r\n\r\n",
        Endless::Record => b"HTTP/1.1 200 OK\r\n\r\n\x01\0\0\0\xff\xff\xff\xff",
        _ => b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n\"",
    };
    client.write_all(begin).await?;
    let piece = match endless {
        Endless::Headers => "X-Endless: x\r\n".repeat(4096).into_bytes(),
        _ => vec![b'x'; 64 << 10],
    };
    loop {
        sent.fetch_add(client.write(&piece).await?, Ordering::SeqCst);
    }
}

/// Returns the most memory that this process has had, in bytes.
fn most_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

/// An endless answer took gigabytes within seconds.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_answer_is_given_up_at_its_bound() {
    for (endless, words) in [
        (Endless::Body, "more than 16777216 bytes"),
        (Endless::Failure, "500"),
        (Endless::Header, "too large"),
        (Endless::Headers, "too large"),
    ] {
        let mut server = Server::start(endless).await;
        let error = server.runner().probe().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.to_string();
        assert!(text.contains(words), "{endless:?}: {text:.300}");
        assert!(text.len() < 16 << 10, "{endless:?}: {} bytes", text.len());
        server.is_given_up().await;
    }
    assert!(most_memory() < 256 << 20, "{} bytes", most_memory());
}

fn attempt() -> Attempt {
    let job = JobSpec::container("x".parse().expect("an image"));
    Attempt::new(InstallationId::random(), JobId::random(), 1, job)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_event_is_given_up_at_its_bound() {
    let mut server = Server::start(Endless::Event).await;
    let runner = server.runner();
    let mut events = runner.events(&runner.handle(&attempt()));
    let following = tokio::spawn(async move { while events.next().await.is_some() {} });
    server.is_given_up().await;
    following.abort();
    assert!(most_memory() < 256 << 20, "{} bytes", most_memory());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_record_of_the_output_is_refused_by_its_length() {
    let mut server = Server::start(Endless::Record).await;
    let runner = server.runner();
    let mut output = runner.logs(&runner.handle(&attempt()), LogPosition::START, false);
    let error = output.next().await.expect("an error").unwrap_err();
    assert!(error.to_string().contains("more than 1048576 bytes"), "{error}");
    server.is_given_up().await;
    assert!(most_memory() < 256 << 20, "{} bytes", most_memory());
}

//! A server that sends without end where the API server should be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use longshore_core::{Attempt, ErrorKind, InstallationId, JobId, JobSpec, Runner, RunnerName};
use longshore_kubernetes::{KubernetesConfig, KubernetesRunner};
use serde_json::json;
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
    /// A header of each answer.
    Header,
    /// The first line of each watch. Lists are empty.
    Line,
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

    fn runner(&self, folder: &tempfile::TempDir) -> KubernetesRunner {
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "u", "user": {}}],
        });
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, kubeconfig.to_string()).expect("the file can be written");
        let config = KubernetesConfig { kubeconfig: Some(path), ..KubernetesConfig::default() };
        KubernetesRunner::new(RunnerName::kubernetes(), config)
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
    loop {
        let mut request = String::new();
        let mut line = String::new();
        while client.read_line(&mut line).await? > 2 {
            request.push_str(&line);
            line.clear();
        }
        if request.is_empty() {
            return Ok(());
        }
        if endless == Endless::Line && !request.contains("watch=") {
            let kind = if request.contains("/jobs") { "JobList" } else { "PodList" };
            let list = json!({"kind": kind, "metadata": {"resourceVersion": "1"}, "items": []});
            let list = list.to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", list.len());
            client.write_all(format!("{head}{list}").as_bytes()).await?;
            continue;
        }
        let begin = match endless {
            Endless::Header => "HTTP/1.1 200 OK\r\nX-Endless: ",
            _ => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n\"",
        };
        client.write_all(begin.as_bytes()).await?;
        loop {
            sent.fetch_add(client.write(&[b'x'; 64 << 10]).await?, Ordering::SeqCst);
        }
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
    for (endless, words) in [(Endless::Body, "more than 16777216 bytes"), (Endless::Header, "")] {
        let mut server = Server::start(endless).await;
        let folder = tempfile::tempdir().unwrap();
        let error = server.runner(&folder).probe().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(words), "{endless:?}: {error}");
        server.is_given_up().await;
    }
    assert!(most_memory() < 512 << 20, "{} bytes", most_memory());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_line_of_a_watch_is_given_up_at_its_bound() {
    let mut server = Server::start(Endless::Line).await;
    let folder = tempfile::tempdir().unwrap();
    let runner = server.runner(&folder);
    let job = JobSpec::container("x".parse().unwrap());
    let attempt = Attempt::new(InstallationId::random(), JobId::random(), 1, job);
    let mut events = runner.events(&runner.handle(&attempt));
    let following = tokio::spawn(async move { while events.next().await.is_some() {} });
    // Those on Jobs and on Pods.
    server.is_given_up().await;
    server.is_given_up().await;
    following.abort();
    assert!(most_memory() < 512 << 20, "{} bytes", most_memory());
}

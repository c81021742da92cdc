//! A server that sends without end where the API server should be.

use futures::StreamExt;
use longshore_conformance::endless::{Answer, EndlessServer, peak_memory};
use longshore_core::{Attempt, ErrorKind, InstallationId, JobId, JobSpec, Runner, RunnerName};
use longshore_kubernetes::{KubernetesConfig, KubernetesRunner};
use serde_json::json;

/// More than the bound of any answer that is read here, with what a connection buffers.
const BOUND: usize = 64 << 20;

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

impl Endless {
    async fn start(self) -> EndlessServer {
        EndlessServer::start(move |request| self.answer(request)).await.expect("a free port")
    }

    fn answer(self, request: &str) -> Answer {
        if self == Self::Line && !request.contains("watch=") {
            let kind = if request.contains("/jobs") { "JobList" } else { "PodList" };
            let list = json!({"kind": kind, "metadata": {"resourceVersion": "1"}, "items": []});
            return Answer::ok(&list.to_string());
        }
        Answer::endless(match self {
            Self::Header => "HTTP/1.1 200 OK\r\nX-Endless: ",
            _ => "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n\"",
        })
    }
}

fn runner(server: &EndlessServer, folder: &tempfile::TempDir) -> KubernetesRunner {
    let address = format!("http://{}", server.address());
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "users": [{"name": "u", "user": {}}],
    });
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).expect("the file can be written");
    let mut config = KubernetesConfig::default();
    config.kubeconfig = Some(path);
    KubernetesRunner::new(RunnerName::kubernetes(), config)
}

/// Waits until the client gives up an answer without end, and checks that it did in time.
async fn is_given_up(server: &mut EndlessServer) {
    let sent = server.given_up().await.expect("it is given up");
    assert!(sent <= BOUND, "{sent} bytes");
}

fn most_memory() -> usize {
    peak_memory().expect("Linux")
}

/// An endless answer took gigabytes within seconds.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_answer_is_given_up_at_its_bound() {
    for (endless, words) in [(Endless::Body, "more than 16777216 bytes"), (Endless::Header, "")] {
        let mut server = endless.start().await;
        let folder = tempfile::tempdir().unwrap();
        let error = runner(&server, &folder).probe().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains(words), "{endless:?}: {error}");
        is_given_up(&mut server).await;
    }
    assert!(most_memory() < 512 << 20, "{} bytes", most_memory());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_line_of_a_watch_is_given_up_at_its_bound() {
    let mut server = Endless::Line.start().await;
    let folder = tempfile::tempdir().unwrap();
    let runner = runner(&server, &folder);
    let job = JobSpec::container("x".parse().unwrap());
    let attempt = Attempt::new(InstallationId::random(), JobId::random(), 1, job);
    let mut events = runner.events(&runner.handle(&attempt));
    let following = tokio::spawn(async move { while events.next().await.is_some() {} });
    // Those on Jobs and on Pods.
    is_given_up(&mut server).await;
    is_given_up(&mut server).await;
    following.abort();
    assert!(most_memory() < 512 << 20, "{} bytes", most_memory());
}

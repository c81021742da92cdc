//! A server that sends without end where the engine should be.

use futures::StreamExt;
use longshore_conformance::endless::{Answer, EndlessServer, peak_memory};
use longshore_core::{
    Attempt, ErrorKind, InstallationId, JobId, JobSpec, LogPosition, Runner, RunnerName,
};
use longshore_docker::{DockerConfig, DockerRunner};

/// More than the bound of any answer that is read here, with what a connection buffers.
const BOUND: usize = 64 << 20;

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

impl Endless {
    async fn start(self) -> EndlessServer {
        EndlessServer::start(move |request| self.answer(request)).await.expect("a free port")
    }

    fn answer(self, request: &str) -> Answer {
        let has_end = match self {
            Self::Event => !request.contains("/events"),
            Self::Record => !request.contains("/logs"),
            _ => false,
        };
        if request.contains("/_ping") {
            return Answer::Whole("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned());
        }
        if has_end && request.contains("/version") {
            return Answer::ok(r#"{"ApiVersion":"1.44"}"#);
        }
        if has_end {
            let none = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
            return Answer::Whole(none.to_owned());
        }
        match self {
            Self::Headers => Answer::Endless {
                begin: b"HTTP/1.1 200 OK\r\n".to_vec(),
                piece: "X-Endless: x\r\n".repeat(4096).into_bytes(),
            },
            Self::Header => Answer::endless("HTTP/1.1 200 OK\r\nX-Endless: "),
            Self::Failure => Answer::endless("HTTP/1.1 500 Oh\r\n\r\n"),
            Self::Record => Answer::endless(*b"HTTP/1.1 200 OK\r\n\r\n\x01\0\0\0\xff\xff\xff\xff"),
            _ => Answer::endless("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n\""),
        }
    }
}

fn runner(server: &EndlessServer) -> DockerRunner {
    let mut config = DockerConfig::default();
    config.host = Some(format!("tcp://{}", server.address()));
    config.tls_verify = Some(false);
    DockerRunner::new(RunnerName::docker(), config)
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
    for (endless, words) in [
        (Endless::Body, "more than 16777216 bytes"),
        (Endless::Failure, "500"),
        (Endless::Header, "too large"),
        (Endless::Headers, "too large"),
    ] {
        let mut server = endless.start().await;
        let error = runner(&server).probe().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.to_string();
        assert!(text.contains(words), "{endless:?}: {text:.300}");
        assert!(text.len() < 16 << 10, "{endless:?}: {} bytes", text.len());
        is_given_up(&mut server).await;
    }
    assert!(most_memory() < 256 << 20, "{} bytes", most_memory());
}

fn attempt() -> Attempt {
    let job = JobSpec::container("x".parse().expect("an image"));
    Attempt::new(InstallationId::random(), JobId::random(), 1, job)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_event_is_given_up_at_its_bound() {
    let mut server = Endless::Event.start().await;
    let runner = runner(&server);
    let mut events = runner.events(&runner.handle(&attempt()));
    let following = tokio::spawn(async move { while events.next().await.is_some() {} });
    is_given_up(&mut server).await;
    following.abort();
    assert!(most_memory() < 256 << 20, "{} bytes", most_memory());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_record_of_the_output_is_refused_by_its_length() {
    let mut server = Endless::Record.start().await;
    let runner = runner(&server);
    let mut output = runner.logs(&runner.handle(&attempt()), LogPosition::START, false);
    let error = output.next().await.expect("an error").unwrap_err();
    assert!(error.to_string().contains("more than 1048576 bytes"), "{error}");
    is_given_up(&mut server).await;
    assert!(most_memory() < 256 << 20, "{} bytes", most_memory());
}

//! What a Docker engine sends.

use std::sync::LazyLock;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::LogsOptionsBuilder;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use futures::StreamExt;
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use longshore_core::{ErrorKind, LogChunk, LogPosition, LogStream, start_error};
use longshore_docker::fuzzing::{classify_pull, classify_refusal, read_output};
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("it has no limit"));

/// The answer to a request for a log is read without a hole, and a connection that breaks in the
/// middle changes nothing.
pub fn docker_log(data: &[u8]) {
    let frames = frames(data);
    let whole = read_output([frames.clone()]);
    let mut had = LogPosition::START;
    for chunk in &whole {
        let LogChunk::Data { stream, offset, bytes } = chunk else { panic!("{chunk:?}") };
        assert!(*offset == had.of(*stream) && !bytes.is_empty(), "{chunk:?}");
        had.advance(chunk);
    }
    // Docker 20.10 leaves out the newlines of long lines, so each record may get one.
    assert!(had.stdout + had.stderr <= (data.len() + frames.len()) as u64);
    if in_order(&frames) {
        for cut in [frames.len() / 2, frames.len().saturating_sub(1)] {
            let broken = read_output([frames[..cut].to_vec(), frames.clone()]);
            for stream in [LogStream::Stdout, LogStream::Stderr] {
                assert_eq!(of(&broken, stream), of(&whole, stream), "broken after {cut} records");
            }
        }
    }
}

/// Each message is classified, an answer that denies is never about something else, and the name of
/// an image decides nothing.
pub fn docker_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (status, message) = text.split_once('\n').unwrap_or(("", text));
    let status = status.parse::<u16>().ok();
    let kind = classify_pull(status, message);
    assert!(matches!(kind, ErrorKind::ImageUnavailable(_)), "{kind:?}");
    assert_eq!(classify_pull(status, &format!(" {message}\n")), kind);
    for about in [r#"Head "http://r:1/v2/NAME/manifests/1": "#, "manifest for r:1/NAME:1 "] {
        let kind = |name| classify_pull(status, &(about.replace("NAME", name) + message));
        assert_eq!(kind("unauthorized"), kind("x"), "{about}");
    }
    let _ = start_error(message);
    if let Some(status) = status {
        let kinds = classify_refusal(status, message);
        if matches!(status, 401 | 403) {
            assert_eq!(kinds, [ErrorKind::Denied; 2]);
        }
    }
}

/// Returns the frames that the client library reads from `body`.
fn frames(body: &[u8]) -> Vec<LogOutput> {
    let body = [b"HTTP/1.1 200 OK\r\n\r\n", body].concat();
    RUNTIME.block_on(async {
        let transport = move |request| answer(request, body.clone());
        let docker = Docker::connect_with_custom_transport(
            transport,
            Some("http://engine"),
            60,
            API_DEFAULT_VERSION,
        )
        .expect("it connects later");
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let frames = docker.logs("job", Some(options));
        frames
            .take_while(|frame| std::future::ready(frame.is_ok()))
            .filter_map(|frame| std::future::ready(frame.ok()))
            .collect()
            .await
    })
}

/// Answers `request` with `bytes`, over a connection in memory.
fn answer(
    request: BollardRequest,
    bytes: Vec<u8>,
) -> futures::future::BoxFuture<'static, Result<Response<Incoming>, Error>> {
    Box::pin(async move {
        let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
        let (mut sender, connection) = handshake(TokioIo::new(ours)).await?;
        tokio::spawn(connection);
        // The client may hang up first.
        tokio::spawn(async move { theirs.write_all(&bytes).await });
        Ok(sender.send_request(request).await?)
    })
}

/// Whether the records have times that never go back, as an engine writes them: all of one length.
fn in_order(frames: &[LogOutput]) -> bool {
    let time = |frame: &LogOutput| -> Option<String> {
        let message = frame.as_ref();
        let end = message.iter().position(|byte| *byte == b' ')?;
        let text = std::str::from_utf8(&message[..end]).ok()?;
        let is_time = text.parse::<Timestamp>().is_ok() && text.as_bytes().get(19) == Some(&b'.');
        (is_time && text.len() == 30 && text.ends_with('Z')).then(|| text.to_owned())
    };
    let times: Option<Vec<_>> = frames.iter().map(time).collect();
    times.is_some_and(|times| times.is_sorted())
}

fn of(chunks: &[LogChunk], of: LogStream) -> Vec<u8> {
    let bytes = |chunk: &LogChunk| match chunk {
        LogChunk::Data { stream, bytes, .. } if *stream == of => bytes.to_vec(),
        LogChunk::Data { .. } => Vec::new(),
        other => panic!("{other:?}"),
    };
    chunks.iter().flat_map(bytes).collect()
}

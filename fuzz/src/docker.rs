//! What a Docker engine sends.

use bytes::Bytes;
use jiff::Timestamp;
use longshore_core::{ErrorKind, LogChunk, LogPosition, LogStream, start_error};
use longshore_docker::fuzzing::{classify_pull, classify_refusal, read_output, read_records};

/// The answer to a request for a log is read without a hole, and a connection that breaks in the
/// middle changes nothing.
pub fn docker_log(data: &[u8]) {
    let records = read_records(data, data.len());
    for length in [1, 7, data.len() / 2] {
        assert_eq!(read_records(data, length), records, "in pieces of {length} bytes");
    }
    let whole = read_output([records.clone()]);
    let mut had = LogPosition::START;
    for chunk in &whole {
        let LogChunk::Data { stream, offset, bytes } = chunk else { panic!("{chunk:?}") };
        assert!(*offset == had.of(*stream) && !bytes.is_empty(), "{chunk:?}");
        had.advance(chunk);
    }
    // Docker 20.10 leaves out the newlines of long lines, so each record may get one.
    assert!(had.stdout + had.stderr <= (data.len() + records.len()) as u64);
    if in_order(&records) {
        for cut in [records.len() / 2, records.len().saturating_sub(1)] {
            let broken = read_output([records[..cut].to_vec(), records.clone()]);
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

/// Whether the records have times that never go back, as an engine writes them: all of one length.
fn in_order(records: &[(LogStream, Bytes)]) -> bool {
    let time = |(_, message): &(LogStream, Bytes)| -> Option<String> {
        let end = message.iter().position(|byte| *byte == b' ')?;
        let text = std::str::from_utf8(&message[..end]).ok()?;
        let is_time = text.parse::<Timestamp>().is_ok() && text.as_bytes().get(19) == Some(&b'.');
        (is_time && text.len() == 30 && text.ends_with('Z')).then(|| text.to_owned())
    };
    let times: Option<Vec<_>> = records.iter().map(time).collect();
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

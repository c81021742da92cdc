//! Bodies that do not arrive as intended.

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::CONTENT_RANGE;

use super::faulty::Body;

/// The damage to the middle of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Nothing more is sent, and the connection stays open.
    Stall,
    /// The connection is closed.
    Truncate,
    /// The bytes from the middle on are changed.
    Corrupt,
}

/// Returns `answer` with its blob damaged in the middle. A range request for the rest of the blob
/// is damaged too.
pub(crate) fn spoil(answer: Response<Bytes>, how: Damage) -> Response<Body> {
    let (parts, bytes) = answer.into_parts();
    let range = parts.headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let (first, total) = range.and_then(place).unwrap_or((0, bytes.len()));
    let middle = (total / 2).saturating_sub(first).min(bytes.len());
    let (sound, rest) = (bytes.slice(..middle), bytes.slice(middle..));
    let begun = stream::once(async move { Ok(Frame::data(sound)) });
    let body = match how {
        Damage::Stall => StreamBody::new(begun.chain(stream::pending())).boxed_unsync(),
        Damage::Truncate => {
            let end = stream::once(async { Err(std::io::Error::other("broken off")) });
            StreamBody::new(begun.chain(end)).boxed_unsync()
        }
        Damage::Corrupt => {
            let other: Bytes = rest.iter().map(|byte| !byte).collect();
            let end = stream::once(async move { Ok(Frame::data(other)) });
            StreamBody::new(begun.chain(end)).boxed_unsync()
        }
    };
    Response::from_parts(parts, body)
}

/// Returns the first byte and the total length from `bytes FIRST-LAST/LENGTH`.
fn place(range: &str) -> Option<(usize, usize)> {
    let (part, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = part.split_once('-')?;
    Some((first.parse().ok()?, total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what arrives of `0123456789`, or of the part from `first` on, and whether it broke
    /// off.
    async fn arrives(first: usize, how: Damage) -> (String, bool) {
        let bytes = Bytes::from_static(b"0123456789").slice(first..);
        let mut answer = Response::builder();
        if first > 0 {
            answer = answer.header(CONTENT_RANGE, format!("bytes {first}-9/10"));
        }
        let mut body = spoil(answer.body(bytes).unwrap(), how).into_body();
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => text.extend_from_slice(&frame.into_data().unwrap()),
                Err(_) => return (String::from_utf8_lossy(&text).into_owned(), true),
            }
        }
        (String::from_utf8_lossy(&text).into_owned(), false)
    }

    #[tokio::test]
    async fn a_truncated_body_breaks_off_in_the_middle_wherever_one_begins() {
        assert_eq!(arrives(0, Damage::Truncate).await, ("01234".to_owned(), true));
        assert_eq!(arrives(2, Damage::Truncate).await, ("234".to_owned(), true));
        assert_eq!(arrives(5, Damage::Truncate).await, (String::new(), true));
    }

    #[tokio::test]
    async fn a_corrupt_body_is_as_long_and_another() {
        let (text, broken) = arrives(0, Damage::Corrupt).await;
        assert!(text.starts_with("01234") && !text.ends_with("56789") && !broken, "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_never_ends() {
        let waited =
            tokio::time::timeout(std::time::Duration::from_secs(3600), arrives(0, Damage::Stall));
        assert!(waited.await.is_err());
    }
}

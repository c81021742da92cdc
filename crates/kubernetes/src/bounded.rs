//! A bound on what the API server sends. A server, or what pretends to be one, may send without end.

use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, TryFutureExt};
use futures::stream::{BoxStream, StreamExt};
use http::{Request, Response, Uri};
use http_body_util::{BodyStream, StreamBody};
use hyper::body::{Body, Frame};
use tower::Service;

/// The most bytes of an answer about one object. Kubernetes' objects have at most 1.5 MiB.
const OBJECT: usize = 16 << 20;
/// The most bytes of a list: enough for 50,000 Pods.
const LIST: usize = 512 << 20;
/// The most bytes of one event of a watch, which is one line with one object.
const EVENT: usize = OBJECT;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body that ends with an error where it exceeds its bound.
pub(crate) type BoundedBody = StreamBody<BoxStream<'static, Result<Frame<Bytes>, BoxError>>>;

/// The server has sent more than an answer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has more than {limit} bytes")]
struct TooLong {
    what: &'static str,
    limit: usize,
}

/// What an answer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// So many bytes in all.
    Whole(usize),
    /// So many bytes in each line.
    Line(usize),
    /// Any number of bytes: the reader takes them piece by piece.
    Pieces,
}

impl Bound {
    /// Returns the bound on the answer to a request for `uri`.
    fn of(uri: &Uri) -> Self {
        let has = |name: &str| {
            let query = uri.query().unwrap_or_default();
            query.split('&').any(|pair| pair.split('=').next() == Some(name))
        };
        if uri.path().ends_with("/log") {
            Self::Pieces
        } else if has("watch") {
            Self::Line(EVENT)
        } else if has("labelSelector") || has("fieldSelector") {
            Self::Whole(LIST)
        } else {
            Self::Whole(OBJECT)
        }
    }

    /// Counts `data`, of which `count` bytes came before.
    fn check(self, count: &mut usize, data: &[u8]) -> Result<(), TooLong> {
        match self {
            Self::Whole(limit) => {
                *count = count.saturating_add(data.len());
                within("the answer", *count, limit)
            }
            Self::Line(limit) => {
                let mut lines = data.split(|byte| *byte == b'\n');
                let first = lines.next().unwrap_or_default();
                within("a line", count.saturating_add(first.len()), limit)?;
                // Lines in between are within this piece, which the connection bounds.
                *count = match lines.next_back() {
                    Some(last) => last.len(),
                    None => count.saturating_add(first.len()),
                };
                within("a line", *count, limit)
            }
            Self::Pieces => Ok(()),
        }
    }
}

fn within(what: &'static str, count: usize, limit: usize) -> Result<(), TooLong> {
    if count > limit { Err(TooLong { what, limit }) } else { Ok(()) }
}

/// A client whose answers are bounded.
#[derive(Clone, Debug)]
pub(crate) struct Bounded<S>(pub(crate) S);

impl<S, R, B> Service<Request<R>> for Bounded<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<BoundedBody>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let bound = Bound::of(request.uri());
        let answer = self.0.call(request);
        answer.map_ok(move |answer| answer.map(|body| bounded(body, bound))).boxed()
    }
}

fn bounded<B>(body: B, bound: Bound) -> BoundedBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let frames = BodyStream::new(body).scan(Some(0), move |count, frame| {
        // After an error the body is over.
        let Some(counted) = count else { return std::future::ready(None) };
        let checked = frame.map_err(Into::into).and_then(|frame| {
            let data = frame.data_ref().map(Bytes::as_ref).unwrap_or_default();
            bound.check(counted, data)?;
            Ok(frame)
        });
        if checked.is_err() {
            *count = None;
        }
        std::future::ready(Some(checked))
    });
    StreamBody::new(frames.boxed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_has_the_bound_of_its_answer() {
        for (uri, bound) in [
            ("/apis/batch/v1/namespaces/n/jobs/j", Bound::Whole(OBJECT)),
            ("/apis/batch/v1/namespaces/n/jobs?&labelSelector=a%3Db", Bound::Whole(LIST)),
            ("/api/v1/namespaces/n/pods?&watch=true&labelSelector=a%3Db", Bound::Line(EVENT)),
            ("/api/v1/namespaces/n/pods/p/log?&follow=true", Bound::Pieces),
            ("/version", Bound::Whole(OBJECT)),
        ] {
            assert_eq!(Bound::of(&uri.parse().unwrap()), bound, "{uri}");
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_its_bound_wherever_the_pieces_end() {
        let lengths = |pieces: &[&str]| {
            let mut count = 0;
            pieces.iter().try_for_each(|p| Bound::Line(4).check(&mut count, p.as_bytes()))
        };
        assert_eq!(lengths(&["abcd\nabcd\n", "ab", "cd\n", "abcd"]), Ok(()));
        assert!(lengths(&["abcde"]).is_err());
        assert!(lengths(&["ab", "cde\n"]).is_err());
        assert!(lengths(&["abcd\nabcde"]).is_err());
    }
}

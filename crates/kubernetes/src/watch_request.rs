//! One request of a watch.

use std::fmt::Debug;

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::api::{Api, WatchEvent, WatchParams};
use kube::core::Request;
use kube::{Client, Error, Resource, Result};
use serde::de::DeserializeOwned;

use crate::error::code;

/// What a watch has reported, or why it has failed.
pub(crate) type Events<K> = BoxStream<'static, Result<WatchEvent<K>>>;

/// Where a watch continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// It has not begun, and may begin with the next change.
    Next,
    /// After this version.
    After(String),
    /// Unknown: changes may have been missed, so it must begin with a list.
    Unknown,
}

impl Position {
    /// Records that the watch cannot continue where it was.
    pub(crate) fn lose(&mut self) {
        if *self != Self::Next {
            *self = Self::Unknown;
        }
    }
}

/// Opens the watch on the objects of `api` at `position`. `None` if that needs a list.
///
/// A watch that begins with the next change asks the server for no initial events, which it sends
/// otherwise (`sendInitialEvents`,
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists>). A server whose
/// feature gate `WatchList` is off answers 422.
pub(crate) async fn open<K>(
    client: &Client,
    api: &Api<K>,
    params: &WatchParams,
    position: &mut Position,
) -> Result<Option<Events<K>>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    match position {
        Position::After(version) => Ok(Some(api.watch(params, version).await?.boxed())),
        Position::Unknown => Ok(None),
        Position::Next => {
            let request = from_now(api.resource_url(), params).map_err(Error::BuildRequest)?;
            match client.request_events::<K>(request).await {
                Ok(events) => {
                    // Until an event says where it is.
                    *position = Position::Unknown;
                    Ok(Some(events.boxed()))
                }
                Err(error) if matches!(code(&error), Some(400 | 422)) => {
                    *position = Position::Unknown;
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        }
    }
}

fn from_now(
    url: &str,
    params: &WatchParams,
) -> std::result::Result<http::Request<Vec<u8>>, kube::core::request::Error> {
    let request = Request::new(url).watch(params, "")?;
    let uri =
        format!("{}&sendInitialEvents=false&resourceVersionMatch=NotOlderThan", request.uri());
    http::Request::get(uri).body(Vec::new()).map_err(kube::core::request::Error::BuildRequest)
}

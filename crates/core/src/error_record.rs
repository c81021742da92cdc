//! The serialised form of an error.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Cause, Error, ErrorKind, RunnerName};

/// An [`Error`] as it is serialised.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorRecord {
    #[serde(flatten)]
    kind: ErrorKind,
    message: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    runner: Option<RunnerName>,
    /// Pairs of a name and a value, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    context: Vec<(Cow<'static, str>, String)>,
    /// In seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<f64>,
    /// The texts of the causes, each caused by the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ErrorRecord::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ErrorRecord::deserialize(deserializer).map(Self::from)
    }
}

impl From<&Error> for ErrorRecord {
    fn from(error: &Error) -> Self {
        let causes = error.source.iter().flat_map(Cause::chain);
        Self {
            kind: error.kind,
            causes: causes.map(ToString::to_string).collect(),
            message: error.message.clone(),
            runner: error.runner.clone(),
            context: error.context.clone(),
            retry_after: error.retry_after.map(|after| after.as_secs_f64()),
        }
    }
}

impl From<ErrorRecord> for Error {
    fn from(record: ErrorRecord) -> Self {
        let after = record.retry_after.map(Duration::try_from_secs_f64);
        Self {
            kind: record.kind,
            message: record.message,
            runner: record.runner,
            context: record.context,
            retry_after: after.and_then(Result::ok),
            source: Cause::recorded(record.causes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageReason;

    #[derive(Debug, thiserror::Error)]
    #[error("the request failed")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn an_error_that_was_written_and_read_says_the_same() {
        let reset = std::io::Error::other("connection reset");
        let error =
            Error::new(ErrorKind::ImageUnavailable(ImageReason::Unreachable), "failed to pull")
                .with("image", "busybox:1")
                .on(&RunnerName::docker())
                .retry_after(Duration::from_millis(1500))
                .caused_by(Outer(reset));
        let text = serde_json::to_string(&error).unwrap();
        let read: Error = serde_json::from_str(&text).unwrap();
        assert_eq!(read.to_string(), error.to_string());
        assert_eq!(format!("{read:?}"), format!("{error:?}"));
        assert_eq!((read.kind(), read.runner()), (error.kind(), error.runner()));
        assert_eq!(read.asked_to_wait(), error.asked_to_wait());
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }

    #[test]
    fn an_error_needs_only_a_kind_and_a_message() {
        let error: Error =
            serde_json::from_str(r#"{"kind":"Saturated","message":"full"}"#).unwrap();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Saturated, "full".to_owned()));
        let odd = r#"{"kind":"Saturated","message":"full","retryAfter":-1}"#;
        assert_eq!(serde_json::from_str::<Error>(odd).unwrap().asked_to_wait(), None);
    }
}

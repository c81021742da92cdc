//! The meaning of failed requests.

use std::error::Error as StdError;
use std::time::Duration;

use kube::core::Status;
use longshore_core::{Error, ErrorKind};

use crate::refusal;

/// A cause in the words of the API server or the system.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Message(pub(crate) String);

/// Returns `error` as the failure of `action` (`failed to …`).
pub(crate) fn failed(action: &'static str, error: &kube::Error) -> Error {
    match error {
        kube::Error::Api(status) => {
            let wrapped = Error::new(kind(status), action).caused_by(Message(words(status)));
            let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            if seconds > 0 {
                wrapped.retry_after(Duration::from_secs(u64::from(seconds)))
            } else {
                wrapped
            }
        }
        // The words of the parser do not say what answered.
        kube::Error::SerdeError(_) => Error::new(ErrorKind::Unavailable, action)
            .caused_by(Message("the answer is not that of a Kubernetes API server".to_owned())),
        other => Error::new(ErrorKind::Unavailable, action).caused_by(Message(innermost(other))),
    }
}

/// Returns the error for an `action` that did not answer in time.
pub(crate) fn timed_out(action: &'static str, after: Duration) -> Error {
    Error::new(ErrorKind::Unavailable, action)
        .caused_by(Message(format!("no answer within {:.1}s", after.as_secs_f32())))
}

fn words(status: &Status) -> String {
    let message = if status.message.is_empty() { &status.reason } else { &status.message };
    if status.code == 401 {
        // The message of the API server is only "Unauthorized".
        return "401 Unauthorized: the credentials are not accepted (an expired token?)".to_owned();
    }
    format!("{} {message}", status.code)
}

/// Returns the most specific text of an error, which kube and hyper wrap in several general ones.
fn innermost(error: &dyn StdError) -> String {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    let last = texts.pop().unwrap_or_default();
    if last == "deadline has elapsed" {
        return "no answer within the time for connecting".to_owned();
    }
    // "tcp connect error" and similar texts say at which step the innermost error occurred.
    match texts.pop() {
        Some(before) if before.len() < 80 && !before.contains(&last) && !texts.is_empty() => {
            format!("{before}: {last}")
        }
        _ => last,
    }
}

/// kube's reason for an answer that is not a Status.
const NOT_A_STATUS: &str = "Failed to parse error data";

/// Returns whether an API server sent `status`, which always says "Failure" and its code. Otherwise, a
/// gateway or a load balancer has answered in the place of the API server, which may not have received
/// the request.
fn is_of_api_server(status: &Status) -> bool {
    status.status.is_some() && status.code != 0 && status.reason != NOT_A_STATUS
}

/// Returns the class of a refusal by the API server.
pub(crate) fn kind(status: &Status) -> ErrorKind {
    if !is_of_api_server(status) {
        return match status.code {
            401 | 403 => ErrorKind::Denied,
            413 => ErrorKind::InvalidSpec,
            429 => ErrorKind::Saturated,
            _ => ErrorKind::Unavailable,
        };
    }
    let message = status.message.to_lowercase();
    let has = |words: &str| message.contains(words);
    match status.code {
        // An admission policy may answer with any 4xx; the default of ValidatingAdmissionPolicy is
        // 422.
        code @ 400..=499 => {
            refusal::classify(&status.message).unwrap_or_else(|| by_code(code, &has))
        }
        500..=599 if has("request is too large") || has("larger than max") => {
            ErrorKind::InvalidSpec
        }
        500..=599 => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

fn by_code(code: u16, has: &dyn Fn(&str) -> bool) -> ErrorKind {
    match code {
        401 | 403 => ErrorKind::Denied,
        // On a create, this means that the namespace does not exist.
        404 if has("namespaces \"") => ErrorKind::Unavailable,
        404 => ErrorKind::NotFound,
        429 => ErrorKind::Saturated,
        400 | 413 | 422 => ErrorKind::InvalidSpec,
        _ => ErrorKind::Internal,
    }
}

/// Returns the status code of the API server's answer.
pub(crate) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) if is_of_api_server(status) => Some(status.code),
        _ => None,
    }
}

/// Returns whether it is certain that the request had no effect: the API server answered and refused
/// it.
pub(crate) fn refused(error: &kube::Error) -> bool {
    code(error).is_some_and(|code| (400..500).contains(&code) && code != 408)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str) -> Status {
        let failure = serde_json::json!({"status": "Failure", "code": code, "message": message});
        serde_json::from_value(failure).unwrap()
    }

    #[test]
    fn the_answer_of_a_gateway_was_taken_for_the_api_servers() {
        use ErrorKind::{Denied, InvalidSpec, Saturated, Unavailable};
        let text = |code| Status::failure("<html>", NOT_A_STATUS).with_code(code);
        let json = |json| serde_json::from_value::<Status>(json).unwrap();
        for (status, expected) in [
            (text(404), Unavailable),
            (text(400), Unavailable),
            (text(409), Unavailable),
            (text(503), Unavailable),
            (text(403), Denied),
            (text(413), InvalidSpec),
            (text(429), Saturated),
            (json(serde_json::json!({"code": 404, "message": "no such cluster"})), Unavailable),
        ] {
            assert_eq!(kind(&status), expected, "{status:?}");
            let error = kube::Error::Api(Box::new(status));
            assert_eq!((code(&error), refused(&error)), (None, false), "{error:?}");
        }
        let missing = kube::Error::Api(Box::new(status(404, "jobs.batch \"x\" not found")));
        assert_eq!((code(&missing), refused(&missing)), (Some(404), true));
    }

    #[test]
    fn a_refusal_is_classified_by_its_code_and_words() {
        use ErrorKind::{Denied, InvalidSpec, NotFound, Saturated, Unavailable};
        for (code, message, expected) in [
            (401, "Unauthorized", Denied),
            (403, "jobs.batch is forbidden: User \"x\" cannot create resource", Denied),
            (403, "pods \"x\" is forbidden: exceeded quota: q, requested: pods=1", Saturated),
            (
                403,
                "unable to create new content in namespace x because it is being terminated",
                Unavailable,
            ),
            (400, "admission webhook \"p.example\" denied the request: no", Denied),
            (
                422,
                "jobs.batch \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
                Denied,
            ),
            (404, "namespaces \"nope\" not found", Unavailable),
            (404, "jobs.batch \"x\" not found", NotFound),
            (422, "Job.batch \"x\" is invalid: spec.template", InvalidSpec),
            (413, "Request entity too large", InvalidSpec),
            (429, "too many requests", Saturated),
            (500, "failed calling webhook", Unavailable),
            (500, "etcdserver: request is too large", InvalidSpec),
            (503, "apiserver is shutting down", Unavailable),
        ] {
            assert_eq!(kind(&status(code, message)), expected, "{code} {message}");
        }
    }

    #[test]
    fn the_servers_wish_to_be_asked_later_is_kept() {
        let answer = serde_json::json!({"code": 429, "message": "slow down", "details": {"retryAfterSeconds": 7}});
        let status: Status = serde_json::from_value(answer).unwrap();
        let error = failed("failed to create the Job", &kube::Error::Api(Box::new(status)));
        assert_eq!(error.asked_to_wait(), Some(Duration::from_secs(7)));
        assert_eq!(error.to_string(), "failed to create the Job: 429 slow down");
    }
}

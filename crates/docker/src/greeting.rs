//! What an engine says about itself: the version of its API, and its system.

use bollard_stubs::models::SystemVersion;
use http::HeaderMap;

use crate::fault::{Cause, Fault};
use crate::http::{API_VERSION, Call, Http};

/// The newest version of the API that this crate knows.
const NEWEST: ApiVersion = ApiVersion { major: 1, minor: 53 };
/// The most bytes of an answer about the version.
const VERSION: usize = 16 << 20;

/// A version of the engine's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl ApiVersion {
    fn read(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What an engine says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// The newest version of the API that both sides know.
    pub(crate) version: ApiVersion,
    /// The system of its containers, such as `linux`, if it is known.
    pub(crate) os: Option<String>,
    /// Whether the headers of the engine's answers arrive. A proxy may remove them.
    pub(crate) signs: bool,
}

impl Greeting {
    /// Asks the engine, as the docker command does: the headers of `/_ping` have both
    /// (<https://docs.docker.com/reference/api/engine/version/v1.41/#tag/System/operation/SystemPingHead>).
    /// For `/version` and `/info`, Docker 20.10 starts up to three programs, which takes longer than
    /// the creation of a container.
    pub(crate) async fn ask(http: &Http) -> Result<Self, Cause> {
        match http.send("", Call::head("/_ping")).await {
            Ok((head, _)) => {
                if let Some(greeting) = Self::of(head.headers()) {
                    return Ok(greeting);
                }
            }
            Err(cause) if cause.is_unreached() => return Err(cause),
            // A proxy may refuse this request and pass the other one.
            Err(_) => {}
        }
        let (_, body) = http.send("", Call::get("/version")).await?;
        let said: SystemVersion = serde_json::from_slice(&body.whole(VERSION).await?)?;
        let version = said.api_version.as_deref().and_then(ApiVersion::read);
        Ok(Self {
            version: version.ok_or(Cause::NoVersion)?.min(NEWEST),
            os: said.os,
            signs: false,
        })
    }

    fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let version = ApiVersion::read(text(API_VERSION)?)?.min(NEWEST);
        Some(Self { version, os: text("ostype").map(str::to_owned), signs: true })
    }
}

/// Whether the engine refuses a request only because it does not know the version of the API in its
/// path: another engine has taken its place. It has not looked at the rest of the request.
pub(crate) fn is_other_version(fault: &Fault) -> bool {
    matches!(fault, Fault::Answered { status: 400, message }
        if message.starts_with("client version ") && message.contains(" is too "))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use longshore_conformance::endless::{Answer, EndlessServer};
    use longshore_core::{ErrorKind, RequestCounter, RunnerName};

    use crate::DockerConfig;
    use crate::client::Engine;
    use crate::fault::Fault;

    /// An engine that answers as `answer` says, and what it was asked, without the rest of the head.
    async fn engine(
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> (Engine, EndlessServer, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let server = EndlessServer::start(move |request| {
            let line = request.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1");
            seen.lock().unwrap().push(line.to_owned());
            answer(line)
        });
        let server = server.await.unwrap();
        let config = DockerConfig {
            host: Some(format!("tcp://{}", server.address())),
            tls_verify: Some(false),
            ..DockerConfig::default()
        };
        (Engine::new(config, RequestCounter::new(&RunnerName::docker())), server, asked)
    }

    fn pong(version: &str) -> Answer {
        let head = "HTTP/1.1 200 OK\r\nOstype: linux\r\nContent-Length: 0\r\nApi-Version";
        Answer::Whole(format!("{head}: {version}\r\n\r\n"))
    }

    fn failure(status: &str, message: &str) -> Answer {
        let body = format!(r#"{{"message":"{message}"}}"#);
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}", body.len());
        Answer::Whole(format!("{head}\r\n\r\n{body}"))
    }

    /// The negotiation and the check before a launch took two requests for which Docker 20.10 starts
    /// five programs.
    #[tokio::test]
    async fn a_ping_is_all_that_an_engine_is_asked_before_a_launch() {
        let (engine, _server, asked) = engine(|_| pong("1.41")).await;
        let greeting = engine.greet().await.unwrap();
        assert_eq!(
            (greeting.version.to_string().as_str(), greeting.os.as_deref()),
            ("1.41", Some("linux"))
        );
        assert_eq!(*asked.lock().unwrap(), ["HEAD /_ping"]);
        engine.greet().await.unwrap();
        assert_eq!(asked.lock().unwrap().len(), 2, "whether it answers now");
    }

    #[tokio::test]
    async fn a_proxy_that_lets_no_ping_pass_is_asked_for_the_version() {
        let (engine, _server, asked) = engine(|line| match line {
            "GET /version" => Answer::ok(r#"{"ApiVersion":"1.44","Os":"windows"}"#),
            _ => Answer::Whole("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n".to_owned()),
        })
        .await;
        let greeting = engine.greet().await.unwrap();
        assert_eq!(
            (greeting.version.to_string().as_str(), greeting.os.as_deref()),
            ("1.44", Some("windows"))
        );
        assert_eq!(*asked.lock().unwrap(), ["HEAD /_ping", "GET /version"]);
    }

    /// After the engine of a service was replaced by an older one, each job ended as invalid.
    #[tokio::test]
    async fn an_older_engine_in_the_place_of_another_is_asked_for_its_version() {
        let pings = Mutex::new(0);
        let (engine, _server, asked) = engine(move |line| match line {
            "HEAD /_ping" => {
                let mut pings = pings.lock().unwrap();
                *pings += 1;
                pong(if *pings == 1 { "1.53" } else { "1.41" })
            }
            line if line.contains("/v1.41/") => {
                failure("404 Not Found\r\nApi-Version: 1.41", "No such container: x")
            }
            _ => failure(
                "400 Bad Request\r\nApi-Version: 1.41",
                "client version 1.53 is too new. Maximum supported API version is 1.41",
            ),
        })
        .await;
        assert_eq!(engine.inspect("x").await.unwrap(), None);
        assert_eq!(engine.inspect("x").await.unwrap(), None);
        assert_eq!(
            *asked.lock().unwrap(),
            [
                "HEAD /_ping",
                "GET /v1.53/containers/x/json",
                "HEAD /_ping",
                "GET /v1.41/containers/x/json",
                "GET /v1.41/containers/x/json",
            ]
        );
    }

    /// A web server in the place of an engine "had no such container", and ended each new job, though
    /// another runner would have taken it.
    #[tokio::test]
    async fn the_404_of_a_server_that_is_no_engine_is_no_missing_container() {
        let (engine, server, _) = engine(|_| failure("404 Not Found", "no such page")).await;
        for _ in 0..2 {
            let fault = engine.inspect("x").await.unwrap_err();
            assert!(matches!(fault, Fault::Unreached(_)), "nothing was asked: {fault:?}");
            let error = fault.into_error("failed");
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            let text = error.to_string();
            for part in ["404", "no such page", server.address()] {
                assert!(text.contains(part), "{text}");
            }
        }
    }

    /// A gateway whose engine is away answers in its place, to a start too.
    #[tokio::test]
    async fn the_answers_of_a_gateway_are_not_those_of_its_engine() {
        for answer in
            ["200 OK", "204 No Content", "404 Not Found", "409 Conflict", "502 Bad Gateway"]
        {
            let (engine, _server, _) = engine(move |line| match line {
                "HEAD /_ping" => pong("1.41"),
                _ => failure(answer, "the gateway's"),
            })
            .await;
            let gone = engine.inspect("x").await.unwrap_err();
            assert!(matches!(gone, Fault::Unanswered(_)), "{answer}: {gone:?}");
            let started = engine.start("x").await.unwrap_err();
            assert!(matches!(started, Fault::Unanswered(_)), "{answer}: {started:?}");
        }
        let (engine, _server, _) = engine(|line| match line {
            "HEAD /_ping" => pong("1.41"),
            _ => failure("403 Forbidden", "by the proxy's rules"),
        })
        .await;
        let denied = engine.inspect("x").await.unwrap_err().into_error("failed");
        assert_eq!(denied.kind(), ErrorKind::Denied, "a proxy may deny access too");
    }

    /// While an engine was away, its gateway's 404 closed a job's stdin, and the job was "not running".
    #[tokio::test]
    async fn a_gateways_404_to_an_attachment_is_not_the_end_of_the_job() {
        let of_gateway = failure("404 Not Found", "no such backend");
        // As seen on 20.10 and 29.
        let head = "HTTP/1.1 404 Not Found\r\nContent-Type: application/vnd.docker.raw-stream";
        let of_engine = format!("{head}\r\nContent-Length: 4\r\n\r\ngone");
        let of_engine = Answer::Whole(of_engine);
        for (answer, is_gone) in [(of_gateway, false), (of_engine, true)] {
            let (engine, _server, _) = engine(move |line| match line {
                "HEAD /_ping" => pong("1.41"),
                _ => answer.clone(),
            })
            .await;
            let fault = engine.attach("x").await.err().unwrap();
            assert_eq!(fault.is_not_found(), is_gone, "{fault:?}");
            assert_eq!(matches!(fault, Fault::Unanswered(_)), !is_gone, "{fault:?}");
        }
    }
}

//! Job files and configuration, in every format.

use longshore::config::{Format, Loader, parse_document};
use longshore::{Config, JobSpec};

/// The formats without substitutions.
const PLAIN: [Format; 3] = [Format::Toml, Format::Yaml, Format::Json];

/// A job file is read, or refused with bounded messages. A job that is written as JSON is read as
/// the same job.
pub fn job_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for format in PLAIN {
        match parse_document::<JobSpec>("job", format, text) {
            Ok(job) => {
                let json = serde_json::to_string(&job).expect("a job is JSON");
                let again = parse_document::<JobSpec>("job", Format::Json, &json);
                assert_eq!(again.ok().as_ref(), Some(&job), "{json}");
            }
            Err(error) => check(&error.to_string(), text),
        }
    }
}

/// A configuration is read, or refused with bounded messages. What is in force is read as the same
/// configuration.
pub fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for format in PLAIN.into_iter().chain([Format::Hocon]) {
        let load = |format, text: &str| Loader::<Config>::new().text("a", format, text).load();
        match load(format, text) {
            Ok(loaded) => {
                let json = serde_json::to_string(&loaded.value).expect("a configuration is JSON");
                let again = load(Format::Json, &json).map(|loaded| loaded.value);
                assert_eq!(again.ok().as_ref(), Some(&loaded.value), "{json}");
            }
            Err(error) => check(&error.to_string(), text),
        }
    }
}

/// A message quotes keys and values of the text, but does not grow faster than the text.
fn check(message: &str, text: &str) {
    assert!(message.len() <= 10_000 + 100 * text.len(), "{} bytes of messages", message.len());
}

//! The command line, and settings in flags and environment variables.

use longshore::config::{Format, Loader, parse_document};
use longshore::{Config, JobSpec};

/// A command line, one word a line, is read, or refused with a bounded message that controls no
/// terminal. The job that it describes is read again from JSON. So are the settings, which each word
/// with a `=` is, both as a flag and as a variable.
pub fn command_line(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let words = || text.lines().map(str::to_owned);
    match longshore_cli::fuzzing::job(words()) {
        Some(Ok(job)) => {
            let json = serde_json::to_string(&job).expect("a job is JSON");
            let again = parse_document::<JobSpec>("job", Format::Json, &json);
            assert_eq!(again.ok().as_ref(), Some(&job), "{json}");
        }
        Some(Err(message)) => {
            check(&message, text);
            assert!(!message.contains('\u{1b}'), "{message}");
        }
        None => {}
    }
    let pairs = words().filter_map(|word| {
        word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
    });
    let flags =
        pairs.clone().fold(Loader::<Config>::new(), |loader, (key, value)| loader.set(key, value));
    for loader in [flags, Loader::<Config>::new().environment(pairs)] {
        match loader.load() {
            Ok(loaded) => {
                let json = serde_json::to_string(&loaded.value).expect("a configuration is JSON");
                let again = Loader::<Config>::new().text("a", Format::Json, json.as_str()).load();
                let again = again.map(|loaded| loaded.value);
                assert_eq!(again.ok().as_ref(), Some(&loaded.value), "{json}");
            }
            Err(error) => check(&error.to_string(), text),
        }
    }
}

/// A message quotes words of the text, but does not grow faster than the text.
fn check(message: &str, text: &str) {
    assert!(message.len() <= 20_000 + 100 * text.len(), "{} bytes of messages", message.len());
}

//! What others write about logins.

use std::fmt::Debug;

use longshore_core::ImageRef;
use longshore_registry::fuzzing::{answer, fits, logins};
use serde_json::Value;

/// The images whose logins are looked up.
const IMAGES: [&str; 3] = ["busybox", "registry.example/team/app:1", "localhost:5000/x"];

/// Separates the standard output of a helper from its standard error.
const SEPARATOR: &[u8] = b"\n---\n";

/// Docker's configuration is read or refused, and neither a message nor a login shows a secret.
pub fn config_json(data: &[u8]) {
    for image in IMAGES {
        let image: ImageRef = image.parse().expect("it is a reference");
        let found = logins(data, &image);
        keeps_secrets(data, &["auth", "identitytoken", "password"], &found);
    }
}

/// A helper's answer is read or refused, and neither shows a secret. The first byte is the exit
/// code.
pub fn helper_answer(data: &[u8]) {
    let Some((code, output)) = data.split_first() else { return };
    let at = output.windows(SEPARATOR.len()).position(|bytes| bytes == SEPARATOR);
    let (stdout, stderr) = match at {
        Some(at) => (&output[..at], &output[at + SEPARATOR.len()..]),
        None => (output, &output[..0]),
    };
    let code = code.saturating_sub(b'0');
    let found = answer(code, stdout, stderr);
    if stderr.is_empty() {
        keeps_secrets(stdout, &["Secret"], &found);
    }
    if let Err(message) = found {
        assert!(message.chars().count() < 500 && !message.contains('\n'), "{message}");
    }
}

/// The server of a login fits an image, or does not, or is refused. The second line is the image.
pub fn login_server(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (server, image) = text.split_once('\n').unwrap_or((text, IMAGES[1]));
    let Ok(image) = image.parse::<ImageRef>() else { return };
    if let Ok(Some(_)) = fits(server, &image) {
        // The server of an image that it fits also fits the image's pinned form.
        let other = image.pinned(&format!("sha256:{:064}", 0)).expect("it only gets a digest");
        assert!(matches!(fits(server, &other), Ok(Some(_))), "{server} {image}");
    }
}

/// Asserts that no value of a secret key in the JSON `data` is in the text of `found`.
fn keeps_secrets(data: &[u8], keys: &[&str], found: &dyn Debug) {
    let Ok(json) = serde_json::from_slice::<Value>(data) else { return };
    let shown = format!("{found:?}");
    let mut secrets = Vec::new();
    collect(&json, keys, &mut secrets);
    for secret in secrets {
        // A short one may be part of a message by chance, and another key may have the same value.
        let is_elsewhere = || String::from_utf8_lossy(data).matches(secret).count() > 1;
        let is_shown = secret.len() >= 8 && shown.contains(secret);
        assert!(!is_shown || is_elsewhere(), "{secret} is in {shown}");
    }
}

fn collect<'a>(json: &'a Value, keys: &[&str], secrets: &mut Vec<&'a str>) {
    match json {
        Value::Array(items) => items.iter().for_each(|item| collect(item, keys, secrets)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if keys.contains(&key.as_str()) => secrets.push(text),
                    value => collect(value, keys, secrets),
                }
            }
        }
        _ => {}
    }
}
